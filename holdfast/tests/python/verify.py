"""What any OIDC client does: finds the keys through discovery, and verifies a token with them.

usage: verify.py ISSUER CA-FILE AUDIENCE < TOKEN

Prints the claims. Ends with 3 if the token is not accepted.
"""

import json
import ssl
import sys
import urllib.request

import jwt

issuer, ca, audience = sys.argv[1:]
token = sys.stdin.read().strip()
trust = ssl.create_default_context(cafile=ca)
with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", context=trust) as answer:
    document = json.load(answer)
if document["issuer"] != issuer:
    sys.exit(f"the issuer calls itself {document['issuer']}")
keys = jwt.PyJWKClient(document["jwks_uri"], ssl_context=trust)
try:
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=document["id_token_signing_alg_values_supported"],
        audience=audience,
        issuer=issuer,
        options={"require": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]},
    )
except jwt.PyJWTError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(3)
print(json.dumps(claims))
