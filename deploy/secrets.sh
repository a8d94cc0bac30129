#!/bin/sh
# Makes what deploy/compose.yaml mounts as secrets: a private CA, one certificate for the database and one for the API,
# the database's password, and the key file of the keyring. Run once, as root, on the machine that runs compose:
#
#   sudo sh deploy/secrets.sh deploy/secrets gateway.example.org
#
# Back up keyring.key apart from everything else: without it nothing that was sealed can be opened again.
set -eu
umask 077
directory=$1
name=$2
database_uid=999   # `postgres` in the official image
privgate_uid=10001 # `privgate` in ours

test ! -e "$directory" || { echo "$directory exists: nothing was changed" >&2; exit 1; }
mkdir -p "$directory"
cd "$directory"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
  -subj "/CN=Privgate deployment CA" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
  -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.pem 2>/dev/null

# leaf FILE HOST OWNER
leaf() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:%s\n' "$2" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 -sha256 -extfile "$1.ext" \
    -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
  chown "$3:$3" "$1.key" "$1.pem"
}
leaf database database "$database_uid"
leaf api "$name" "$privgate_uid"

password=$(openssl rand -hex 32)
printf '%s' "$password" > database.password
printf 'database:5432:privgate:privgate:%s\n' "$password" > database.pgpass
printf 'privgate-key-v1:%s\n' "$(openssl rand -base64 32)" > keyring.key
chown "$database_uid:$database_uid" database.password
chown "$privgate_uid:$privgate_uid" database.pgpass keyring.key
chmod 0400 ./*.key ./*.password
chmod 0600 database.pgpass
chmod 0444 ./*.pem
chmod 0755 .
echo "secrets are in $directory; clients trust $directory/ca.pem"
