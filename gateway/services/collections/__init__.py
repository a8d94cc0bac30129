"""Use cases of jobs on data that the gateway never sees: parties, attested rows, requests, rounds, ends.

Nouns: party (an enrolled agent: a site or a key holder), collection (one such job, as the gateway coordinates it),
document (what a party signed; stored and handed on as it came).

Rules
-----
1. The gateway decides, coordinates, carries and logs. It never holds a secret key, and nobody has to believe it.
2. A party acts for the owner that enrolled it. Its right to a job's documents is the order, which was decided for every
   dataset; it ends with the party, with its owner's access, and with the job.
"""
