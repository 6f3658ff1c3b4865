"""Holds a FOCUS file against the official validator, and prints the rules that fail.

Usage: focus.py FILE. The validator reads a table of currencies by a path relative to its packages, so it is run from there.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

CRITERIA = "USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,REGION_SUPPORTED," \
    "TAGGING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED"

packages = pathlib.Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
with tempfile.TemporaryDirectory() as folder:
    report = os.path.join(folder, "report.xml")
    done = subprocess.run(
        [os.path.join(sys.prefix, "bin", "focus-validator"), "--data-file", sys.argv[1], "--validate-version", "1.2", "--block-download",
         "--applicability-criteria", CRITERIA, "--output-type", "unittest", "--output-destination", report],
        cwd=packages, capture_output=True, text=True,
    )
    if not os.path.exists(report):
        sys.exit(f"the validator wrote nothing: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))

failed = sorted(case.get("name") for case in cases if case.find("failure") is not None)
skipped = sum(1 for case in cases if case.find("skipped") is not None)
print(json.dumps({"checks": len(cases), "skipped": skipped, "failed": failed}))
