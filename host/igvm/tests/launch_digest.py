#!/usr/bin/env python3
"""Computes the SEV-SNP launch digest of an IGVM file, from the formats alone and with nothing but Python's library.

A second opinion for `macadamia-igvm measure`: it shares no code with it. Sources: the documentation of the crate
igvm_defs for the file, the SEV-SNP firmware ABI (56860, section 8.17) for the digest. A page without file data is
launched as a ZERO page, as QEMU does.
"""

import hashlib
import struct
import sys

SEV_SNP = 2
NORMAL, VMSA, ZERO, UNMEASURED, SECRETS, CPUID = 1, 2, 3, 4, 5, 6


def headers(file):
    """Type and content of every variable header."""
    offset, size = struct.unpack_from("<II", file, 8)
    end = offset + size
    while offset < end:
        kind, length = struct.unpack_from("<II", file, offset)
        yield kind, file[offset + 8 : offset + 8 + length]
        offset += 8 + (length + 7) // 8 * 8


def launched(file):
    """What is launched for SEV-SNP, in order: page type, address, contents."""
    mask, areas = 0, {}
    for kind, body in headers(file):
        if kind == 0x1:
            bit, _, platform = struct.unpack_from("<IBB", body)
            if platform == SEV_SNP:
                mask = bit
        elif kind == 0x301:
            size, index = struct.unpack_from("<QI", body)
            areas[index] = size
        elif kind == 0x302:
            gpa, page_mask, data, flags, data_type = struct.unpack_from("<QIIIH", body)
            if not page_mask & mask:
                continue
            contents = file[data : data + 4096] if data else bytes(4096)
            page_type = {0: NORMAL if data else ZERO, 1: SECRETS, 2: CPUID, 3: CPUID}[data_type]
            yield (UNMEASURED if flags & 2 else page_type), gpa, contents
        elif kind == 0x303:
            gpa, insert_mask, index = struct.unpack_from("<QII", body)
            if insert_mask & mask:
                for page in range(gpa, gpa + areas[index], 4096):
                    yield UNMEASURED, page, bytes(4096)
        elif kind == 0x304:
            gpa, context_mask, data = struct.unpack_from("<QII", body)
            if context_mask & mask:
                yield VMSA, gpa, file[data : data + 4096]


def launch_digest(file):
    digest = bytes(48)
    for page_type, gpa, contents in launched(file):
        measured = page_type in (NORMAL, VMSA)
        contents = hashlib.sha384(contents).digest() if measured else bytes(48)
        info = digest + contents + struct.pack("<HBBIQ", 0x70, page_type, 0, 0, gpa)
        digest = hashlib.sha384(info).digest()
    return digest


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as image:
        print(launch_digest(image.read()).hex())
