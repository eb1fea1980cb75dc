"""Inflates messages with zlib, one at a time, as the lines of JSON on its standard input say, and refuses every
distance that reaches beyond the window."""

import base64
import hashlib
import json
import sys
import zlib


def inflate(decompressor, data):
    # zlib checks distances against the window plus whatever the present call has put out, so each call puts out one
    # byte. The input comes in pieces because zlib's Python binding copies what a call leaves over.
    data += b"\x00\x00\xff\xff"
    digest = hashlib.sha256()
    for at in range(0, len(data), 32):
        piece = data[at : at + 32]
        while True:
            out = decompressor.decompress(piece, 1)
            piece = decompressor.unconsumed_tail
            digest.update(out)
            if not out and not piece:
                break
    return digest.hexdigest()


decompressor = None
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "window":
        decompressor = zlib.decompressobj(-command["bits"])
    else:
        try:
            answer = {"event": "inflated", "data": inflate(decompressor, base64.b64decode(command["data"]))}
        except zlib.error as exc:
            answer = {"event": "error", "data": str(exc)}
        print(json.dumps(answer), flush=True)
