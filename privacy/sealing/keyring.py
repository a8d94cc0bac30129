"""The local keyring: a directory of our own that holds every KEK and the gateway's other secrets under one root.

Rules
-----
1. The directory and its files are ours alone and no links, or nothing is read (`private_files`).
2. One root wraps everything, one MAC covers everything, and a self-check runs before the first use (`keyring_file`).
3. Two processes may share it, and it never goes back (`keyring_store`).
4. Only the current version wraps. Below the floor nothing unwraps. What was destroyed stays destroyed.

Format: docs/formats/keyring.md.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel.checks import whole
from kernel.clock import Clock, format_time, parse_time
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError
from kernel.ids import Entropy, Slug, TenantId
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.durable import Point, no_point
from privacy.sealing.keyring_file import Unlock
from privacy.sealing.keyring_store import Document, KeyringStore, make_directory
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import MOST_VERSIONS, NONCE_BYTES, KekVersion, KekVersions, KeyContext, WrappedKey

ALGORITHM = "local-a256gcm"
_LONGEST_SECRET = 1024


class Keyring:
    """The open keyring: a `KeyProvider`, and the keeper of named secrets. Safe to share between threads."""

    def __init__(self, store: KeyringStore, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    @classmethod
    def create(
        cls, directory: Path, unlock: Unlock, *, clock: Clock, entropy: Entropy, point: Point = no_point
    ) -> Keyring:
        """Make a new keyring; raise `ConflictError` if the directory holds one."""
        make_directory(directory, point)
        store = KeyringStore(directory, point)
        try:
            store.create(unlock, entropy)
        finally:
            store.close()
        return cls.open(directory, unlock, clock=clock, entropy=entropy, at_least=1, point=point)

    @classmethod
    def open(
        cls,
        directory: Path,
        unlock: Unlock,
        *,
        clock: Clock,
        entropy: Entropy,
        at_least: int = 0,
        point: Point = no_point,
    ) -> Keyring:
        """Open and check a keyring.

        Args:
            directory: Where it lies.
            unlock: The passphrase or key file.
            clock: Dates of new versions.
            entropy: New keys and nonces.
            at_least: The newest generation that the caller remembers; an older keyring is refused.
            point: Crash points, for tests.

        Raises:
            InvalidError: Loose permissions, a link, another owner, or the wrong passphrase or key file.
            NotFoundError: There is no keyring.
            CorruptError: It was altered or is older than `at_least`.
        """
        store = KeyringStore(directory, point)
        try:
            store.unlock(unlock, at_least)
        except BaseException:
            store.close()
            raise
        return cls(store, clock=clock, entropy=entropy)

    def close(self) -> None:
        """Forget the root and let go of the directory."""
        self._store.close()

    @property
    def generation(self) -> int:
        """How often the keyring was written; to be remembered elsewhere and given to `open` as `at_least`."""
        return int(self._store.current()["generation"])

    # --- the five verbs ------------------------------------------------------------------------------------------

    def wrap(self, tenant: TenantId, context: KeyContext, dek: SecretBytes) -> WrappedKey:
        """Wrap a data key under the tenant's current version."""
        _same_tenant(tenant, context)
        found = self._tenant(tenant)
        version = int(found["current"])
        nonce = self._entropy(NONCE_BYTES)
        ciphertext = self._kek(found, tenant, version).encrypt(nonce, dek.reveal(), context.aad)
        return WrappedKey(
            alg=ALGORITHM, kek_version=version, nonce=nonce, ciphertext=ciphertext, context=context.digest
        )

    def unwrap(self, tenant: TenantId, context: KeyContext, wrapped: WrappedKey) -> SecretBytes:
        """Open a wrapped key; see `KeyProvider.unwrap`."""
        _same_tenant(tenant, context)
        wrapped.check_context(context)
        if wrapped.alg != ALGORITHM:
            raise InvalidError("this key was wrapped by another key provider", field="alg")
        found = self._tenant(tenant)
        if wrapped.kek_version < found["floor"]:
            raise ConflictError("this key's wrapping version lies below the floor: restore a rewrapped copy")
        kek = self._kek(found, tenant, wrapped.kek_version)
        try:
            return SecretBytes(kek.decrypt(wrapped.nonce, wrapped.ciphertext, context.aad))
        except InvalidTag:
            raise CorruptError("a wrapped key does not open: it was altered") from None

    def rewrap(self, tenant: TenantId, context: KeyContext, wrapped: WrappedKey) -> WrappedKey:
        """Wrap the same data key under the current version."""
        with self.unwrap(tenant, context, wrapped) as dek:
            return self.wrap(tenant, context, dek)

    def describe(self, tenant: TenantId) -> KekVersions:
        """List the tenant's versions; raise `NotFoundError` if it has none."""
        found = self._tenant(tenant)
        return KekVersions(
            current=found["current"],
            floor=found["floor"],
            versions=tuple(
                KekVersion(
                    number=int(number),
                    created_at=parse_time(kek["created_at"]),
                    destroyed_at=parse_time(kek["destroyed_at"]) if "destroyed_at" in kek else None,
                )
                for number, kek in sorted(found["keks"].items(), key=lambda item: int(item[0]))
            ),
        )

    def destroy(self, tenant: TenantId, version: int) -> None:
        """Destroy a version that is not the current one; its number and the time remain. Harmless when repeated."""

        def change(body: Document) -> None:
            found = _tenant_of(body, tenant)
            if version == found["current"]:
                raise ConflictError("the current version cannot be destroyed: rotate first, rewrap what shall live")
            kek = found["keks"].get(str(version))
            if kek is None:
                raise NotFoundError("the tenant's key has no such version")
            if kek.pop("wrapped", None) is not None:
                kek["destroyed_at"] = format_time(self._clock.now())

        self._store.change(change)

    # --- versions ------------------------------------------------------------------------------------------------

    def ensure_tenant(self, tenant: TenantId) -> int:
        """Give a tenant its first KEK unless it has one; return the current version."""
        known = self._store.current()["tenants"].get(tenant)
        return int(known["current"]) if known is not None else self._new_version(tenant, only_if_missing=True)

    def rotate(self, tenant: TenantId) -> int:
        """Add a version that wraps from now on; older ones still unwrap. Return its number."""
        self._tenant(tenant)
        return self._new_version(tenant, only_if_missing=False)

    def raise_floor(self, tenant: TenantId, version: int) -> None:
        """Refuse to unwrap below `version` from now on; the floor never falls."""

        def change(body: Document) -> None:
            found = _tenant_of(body, tenant)
            found["floor"] = whole(found["floor"], found["current"], floor=version)

        self._store.change(change)

    def _new_version(self, tenant: TenantId, *, only_if_missing: bool) -> int:
        def change(body: Document) -> None:
            found = body["tenants"].setdefault(tenant, {"current": 0, "floor": 1, "keks": {}})
            if found["current"] and only_if_missing:
                return
            number = whole(1, MOST_VERSIONS, version=found["current"] + 1)
            wrapped = self._store.root.wrap(self._entropy(KEY_BYTES), _kek_place(tenant, number), self._entropy)
            found["keks"][str(number)] = {"created_at": format_time(self._clock.now()), "wrapped": wrapped}
            found["current"] = number

        return int(self._store.change(change)["tenants"][tenant]["current"])

    # --- other secrets -------------------------------------------------------------------------------------------

    def secret(self, name: Slug, length: int = KEY_BYTES) -> SecretBytes:
        """Return the secret of that name; make it at the first call, with `length` random bytes.

        Raises:
            ConflictError: It exists with another length.
        """
        whole(16, _LONGEST_SECRET, length=length)
        name = Slug(name)
        place = {"kind": "secret", "length": length, "name": name}

        def change(body: Document) -> None:
            if name not in body["secrets"]:
                wrapped = self._store.root.wrap(self._entropy(length), place, self._entropy)
                body["secrets"][name] = {"length": length, "wrapped": wrapped}

        found = self._store.current()["secrets"].get(name) or self._store.change(change)["secrets"][name]
        if found["length"] != length:
            raise ConflictError("this secret exists with another length")
        return self._store.root.unwrap(found["wrapped"], place)

    def forget(self, name: Slug) -> None:
        """Destroy a named secret; harmless when repeated. What was keyed with it becomes unlinkable."""
        self._store.change(lambda body: body["secrets"].pop(name, None))

    def _tenant(self, tenant: TenantId) -> Document:
        return _tenant_of(self._store.current(), tenant)

    def _kek(self, found: Document, tenant: TenantId, version: int) -> AESGCM:
        kek = found["keks"].get(str(version), {})
        if "wrapped" not in kek:
            raise NotFoundError("this version of the tenant's key was destroyed or never existed")
        return AESGCM(self._store.root.unwrap(kek["wrapped"], _kek_place(tenant, version)).reveal())


def _same_tenant(tenant: TenantId, context: KeyContext) -> None:
    if context.tenant != tenant:
        raise InvalidError("the context names another tenant", field="context")


def _tenant_of(body: Document, tenant: TenantId) -> Document:
    found: Document | None = body["tenants"].get(tenant)
    if found is None:
        raise NotFoundError("this tenant has no key yet")
    return found


def _kek_place(tenant: TenantId, version: int) -> Document:
    return {"kind": "kek", "tenant": tenant, "version": version}
