"""Reads the event files of a folder with TensorBoard's own reader and prints what it found as JSON."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0})
events.Reload()
start = plugin_data_pb2.HParamsPluginData.FromString(
    events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
).session_start_info
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]},
    "images": {
        tag: [[e.step, e.width, e.height, list(e.encoded_image_string)] for e in events.Images(tag)]
        for tag in events.Tags()["images"]
    },
    "histograms": {
        tag: [[e.step, e.histogram_value.num, e.histogram_value.min, e.histogram_value.max,
               e.histogram_value.sum, sum(e.histogram_value.bucket)] for e in events.Histograms(tag)]
        for tag in events.Tags()["histograms"]
    },
    "hparams": {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()},
    "group": start.group_name,
}))
