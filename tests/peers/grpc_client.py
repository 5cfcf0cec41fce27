"""A client on gRPC C-core: asks the agent's socket for secrets and identities, as Python, Ruby, PHP and
C++ programs do. C-core sends the socket's path, percent-encoded, as :authority.

    grpc_client.py SOCKET

Prints one JSON object a line: what FetchSecrets answered, what FetchX509SVID answered, then each
response of a StreamSecrets call, which it acknowledges, until two have come.
"""

import json
import queue
import sys

import grpc

SDS = "/envoy.service.secret.v3.SecretDiscoveryService/"
SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
TIMEOUT_SECS = 30


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    """A length-delimited protobuf field."""
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(message):
    """The length-delimited fields of a protobuf message: number -> list of contents."""
    found, at = {}, 0

    def read_varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(message):
        tag = read_varint()
        if tag & 7 == 0:
            read_varint()
        elif tag & 7 == 2:
            length = read_varint()
            found.setdefault(tag >> 3, []).append(message[at : at + length])
            at += length
        else:
            raise ValueError(f"wire type {tag & 7}")
    return found


def request(names, version="", nonce=""):
    """A DiscoveryRequest."""
    message = field(4, SECRET_TYPE) + b"".join(field(3, name) for name in names)
    if nonce:
        message += field(1, version) + field(5, nonce)
    return message


def secrets(response):
    """Of each secret in a DiscoveryResponse: its name and what kind it is."""
    told = {}
    for resource in fields(response).get(2, []):
        secret = fields(fields(resource)[2][0])
        told[secret[1][0].decode()] = "certificate" if 2 in secret else "validation"
    return told


def tell(**what):
    print(json.dumps(what), flush=True)


def stream(channel):
    requests = queue.SimpleQueue()
    requests.put(request(["default"]))
    call = channel.stream_stream(SDS + "StreamSecrets")(iter(requests.get, None), timeout=TIMEOUT_SECS)
    for count, response in enumerate(call, 1):
        version, nonce = (fields(response)[number][0].decode() for number in (1, 5))
        tell(stream=secrets(response), version=version)
        if count == 2:
            call.cancel()
            return
        requests.put(request(["default"], version, nonce))


def main():
    with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
        fetch = channel.unary_unary(SDS + "FetchSecrets")
        tell(fetch=secrets(fetch(request(["default", "ROOTCA"]), timeout=TIMEOUT_SECS)))
        identities = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")
        call = identities(b"", timeout=TIMEOUT_SECS, metadata=[("workload.spiffe.io", "true")])
        svids = fields(next(call))[1]
        tell(identities=[fields(svid)[1][0].decode() for svid in svids])
        call.cancel()
        stream(channel)


main()
