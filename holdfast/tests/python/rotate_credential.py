"""A service replaces its own access key, with nothing but what the server's reflection says about its API.

usage: rotate_credential.py HOST:PORT CA-FILE < ACCESS-KEY-ID:SECRET

Mints a new key, reads its secret back with the old one, checks that both are good, revokes the old one with the new
one, and checks that the old one is refused. Prints the new key's id and secret as it got them.
"""

import base64
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, ca = sys.argv[1:]
old_id, old_secret = sys.stdin.read().strip().split(":")
with open(ca, "rb") as roots:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots.read()))
service = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName("iam.v1.Credentials")


def call(method, identity, **fields):
    described = service.methods_by_name[method]
    request, answer = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
    path = f"/{service.full_name}/{method}"
    unary = channel.unary_unary(path, request.SerializeToString, answer.FromString)
    login = base64.b64encode(":".join(identity).encode()).decode()
    return unary(request(**fields), metadata=[("authorization", f"Basic {login}")], timeout=30)


def expect(code, method, identity, **fields):
    try:
        call(method, identity, **fields)
    except grpc.RpcError as error:
        if error.code() == code:
            return
        raise
    sys.exit(f"{method} went well, and should have been {code}")


old = (old_id, old_secret)
made = call("Create", old, note="made by rotate_credential.py")
new = (made.credential.access_key_id, made.secret)
if call("GetCredentialSecret", old, access_key_id=new[0]).secret != new[1]:
    sys.exit("the secret that was read back is another one")
for identity in (old, new):
    live = {key.access_key_id for key in call("List", identity).credentials if not key.revoked}
    if live != {old_id, new[0]}:
        sys.exit(f"these are live: {live}")
call("Revoke", new, access_key_id=old_id)
expect(grpc.StatusCode.UNAUTHENTICATED, "List", old)
expect(grpc.StatusCode.FAILED_PRECONDITION, "Revoke", new, access_key_id=new[0])
print(":".join(new))
