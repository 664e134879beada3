"""Prints what the model of DOMAIN.md section 4 makes of its own scenarios, and of those on standard input."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["QUITTANCE_CORPUS"], "events"))
import lattice_check

scenarios = [{"name": name, "events": events} for name, events in lattice_check.SC.items()]
scenarios += [{"name": f"random {n}", "events": events} for n, events in enumerate(json.load(sys.stdin))]
for scenario in scenarios:
    scenario["view"] = json.loads(lattice_check.ref(scenario["events"]))
json.dump(scenarios, sys.stdout)
