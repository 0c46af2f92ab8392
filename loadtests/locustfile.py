"""`locust -f loadtests/locustfile.py --host https://TENANT.DOMAIN --api-key-file FILE --numbers +380…`: API users.

docs/load.md has the rest.
"""

from okitoki_locust.api_user import ApiUser
from okitoki_locust.lifecycle import install

install()

__all__ = ["ApiUser"]
