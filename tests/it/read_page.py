"""Reads a page with the reference parsers and prints its samples as JSON. The tests compare the formats.

    python read_page.py FORMAT CODING FILE
"""

import json
import sys
import zlib

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text


def body(coding, path):
    data = open(path, "rb").read()
    # Browsers and curl read only the first member.
    if coding == "gzip":
        member = zlib.decompressobj(31)
        page = member.decompress(data)
        assert member.eof and not member.unused_data, "not exactly one complete gzip member"
        return page
    return data


form, coding, path = sys.argv[1:]
read = {"text": read_text, "openmetrics": read_openmetrics}[form]
samples = []
for family in read(body(coding, path).decode()):
    for sample in family.samples:
        exemplar = sample.exemplar and [sample.exemplar.labels, sample.exemplar.value, float(sample.exemplar.timestamp)]
        value = "+Inf" if sample.value == float("inf") else float(sample.value)
        samples.append([sample.name, sample.labels, value, exemplar, family.type, family.unit])
json.dump(samples, sys.stdout)
