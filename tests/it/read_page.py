"""Reads a page with the reference parsers and prints its samples as JSON: the tests compare what the formats say.

    python read_page.py FORMAT CODING FILE
"""

import gzip
import json
import sys

import zstandard
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text


def body(coding, path):
    data = open(path, "rb").read()
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read()
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
