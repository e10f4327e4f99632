"""`python -m colo_proxy`: the same as `colo-proxy`."""

import sys

from colo_proxy.cli.main import main

sys.exit(main())
