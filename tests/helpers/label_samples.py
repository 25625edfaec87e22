"""One label file of every format, written as its tool writes it; all of them show the same ship.

The ship lies about (200, 150) in an image of 400 x 300, is 160 long and 40 wide, and is turned by
30 degrees clockwise on the screen. Its corners are computed by hand: cos 30 = 0.8660254 and
sin 30 = 0.5.
"""

import json

SIZE_WH = (400, 300)
SHIP = [[140.718, 92.679], [279.282, 172.679], [259.282, 207.321], [120.718, 127.321]]
NORMALIZED = " ".join(f"{x / 400:.8f} {y / 300:.8f}" for x, y in SHIP)
PIXELS = " ".join(f"{x} {y}" for x, y in SHIP)
VOC = "<annotation><folder>images</folder><filename>{name}</filename><size><width>400</width>\
<height>300</height><depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
OBJECT = "<object>{kind}<name>ship</name><pose>Unspecified</pose><truncated>0</truncated>\
<difficult>0</difficult>{box}</object>"


def _tags(names, values):
    return "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, values, strict=True))


def _voc(box, kind=""):
    return VOC.format(name="a1.png", objects=OBJECT.format(kind=kind, box=box))


_FLAT = [value for corner in SHIP for value in corner]
_DIOR = [f"{axis}_{c}" for c in ("left_top", "right_top", "right_bottom", "left_bottom")
         for axis in "xy"]  # fmt: skip
_SSDD = [f"{axis}{n}" for n in (1, 2, 3, 4) for axis in "xy"]
_LABELME = {
    "version": "5.4.1",
    "flags": {},
    "imagePath": "a1.png",
    "imageData": None,
    "imageHeight": 300,
    "imageWidth": 400,
}
_SHAPE = {"label": "ship", "points": SHIP, "group_id": None, "description": "", "flags": {}}

FILES = {
    "dota": {"a1.txt": f"imagesource:GoogleEarth\ngsd:0.15\n{PIXELS} ship 0\n"},
    "rolabelimg": {
        "a1.xml": _voc(
            "<robndbox>"
            + _tags(("cx", "cy", "w", "h", "angle"), (200.0, 150.0, 160.0, 40.0, 0.523599))
            + "</robndbox>",
            "<type>robndbox</type>",
        )
    },
    "yolo": {"a1.txt": f"0 {NORMALIZED}\n", "classes.txt": "ship\n"},
    "yolo-xywhr": {
        "a1.txt": "0 0.5 0.5 0.4 0.13333333 0.52359878\n",
        "classes.txt": "ship\n",
    },
    # The tool's angle runs the other way around, and its height is the longer side.
    "labelimg-obb": {
        "a1.txt": "YOLO_OBB\n0 200.0 150.0 40.0 160.0 -30.0\n",
        "classes.txt": "ship\n",
    },
    "coco": {
        "train.json": json.dumps(
            {
                "info": {"description": ""},
                "images": [{"id": 7, "file_name": "a1.png", "width": 400, "height": 300}],
                "annotations": [
                    {
                        "id": 3,
                        "image_id": 7,
                        "category_id": 2,
                        "segmentation": [_FLAT],
                        "bbox": [120.718, 92.679, 158.564, 114.642],
                        "area": 6400.0,
                        "iscrowd": 0,
                    }
                ],
                "categories": [{"id": 2, "name": "ship", "supercategory": ""}],
            }
        )
    },
    "labelme": {
        "a1.json": json.dumps({**_LABELME, "shapes": [{**_SHAPE, "shape_type": "polygon"}]})
    },
    "xanylabeling": {
        "a1.json": json.dumps(
            {
                **_LABELME,
                "shapes": [
                    {
                        **_SHAPE,
                        "shape_type": "rotation",
                        "direction": 0.523599,
                        "score": None,
                        "difficult": False,
                        "attributes": {},
                        "kie_linking": [],
                    }
                ],
            }
        )
    },
    "cvat": {
        "annotations.xml": '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
        "  <version>1.1</version>\n  <meta><task><id>1</id><mode>annotation</mode></task></meta>\n"
        '  <image id="0" name="images/a1.png" width="400" height="300">\n'
        '    <box label="ship" source="manual" occluded="0" xtl="120.00" ytl="130.00" '
        'xbr="280.00" ybr="170.00" rotation="30.00" z_order="0">\n    </box>\n'
        "  </image>\n</annotations>\n"
    },
    "label-studio": {
        "project-1.json": json.dumps(
            [
                {
                    "id": 1,
                    "annotations": [
                        {
                            "id": 11,
                            "completed_by": 1,
                            "was_cancelled": False,
                            "ground_truth": False,
                            "result": [
                                {
                                    "original_width": 400,
                                    "original_height": 300,
                                    "image_rotation": 0,
                                    "value": {
                                        "x": 140.718 / 4,
                                        "y": 92.679 / 3,
                                        "width": 40.0,
                                        "height": 40 / 3,
                                        "rotation": 30.0,
                                        "rectanglelabels": ["ship"],
                                    },
                                    "id": "Dx_aB91ISN",
                                    "from_name": "label",
                                    "to_name": "image",
                                    "type": "rectanglelabels",
                                    "origin": "manual",
                                }
                            ],
                        }
                    ],
                    "predictions": [],
                    "data": {"image": "/data/upload/1/0a1b2c3d-a1.png"},
                    "meta": {},
                }
            ]
        )
    },
    "hrsc": {
        "a1.xml": "<HRSC_Image><Img_SizeWidth>400</Img_SizeWidth><Img_SizeHeight>300"
        "</Img_SizeHeight><HRSC_Objects><HRSC_Object><Class_ID>100000001</Class_ID>"
        "<difficult>0</difficult>"
        + _tags(
            ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang"), (200, 150, 160, 40, 0.523599)
        )
        + "</HRSC_Object></HRSC_Objects></HRSC_Image>"
    },
    "dior": {
        "a1.xml": _voc(
            f"<robndbox>{_tags(_DIOR, _FLAT)}</robndbox><angle>30</angle>", "<type>robndbox</type>"
        )
    },
    "fair1m": {
        "a1.xml": '<?xml version="1.0" encoding="utf-8"?>\n<annotation><source>'
        "<filename>a1.tif</filename><origin>GF2/GF3</origin></source><size><width>400</width>"
        "<height>300</height><depth>3</depth></size><objects><object>"
        "<coordinate>pixel</coordinate><type>rectangle</type><description>None</description>"
        "<possibleresult><name>ship</name></possibleresult><points>"
        + "".join(f"<point>{x:.6f},{y:.6f}</point>" for x, y in [*SHIP, SHIP[0]])
        + "</points></object></objects></annotation>"
    },
    "ssdd": {
        "a1.xml": _voc(
            "<bndbox><xmin>121</xmin><ymin>93</ymin><xmax>279</xmax><ymax>207</ymax></bndbox>"
            f"<rotated_bndbox>{_tags(_SSDD, _FLAT)}"
            + _tags(
                [f"rotated_bbox_{name}" for name in ("cx", "cy", "w", "h", "theta")],
                (200, 150, 160, 40, 30),
            )
            + "</rotated_bndbox>"
        )
    },
    # The class is the name of the folder; here it is the first field, as in copies of the data.
    "ucas-aod": {
        "a1.txt": "ship " + "\t".join(f"{v:.6e}" for v in [*_FLAT, 30, 120.7, 92.7, 158.6, 114.6])
    },
    "geojson": {
        "a1.geojson": json.dumps(
            {
                "type": "FeatureCollection",
                "name": "ships",
                "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
                "features": [
                    {
                        "type": "Feature",
                        "properties": {"class": "ship", "score": 0.5},
                        "geometry": {
                            "type": "MultiPolygon",
                            # the image has half a meter per pixel, and its corner is at 500000 east
                            "coordinates": [
                                [[[5e5 + x / 2, 4e6 - y / 2] for x, y in [*SHIP, SHIP[0]]]]
                            ],
                        },
                    }
                ],
            }
        )
    },
}
FILES["coco-rotated"] = {
    "train.json": json.dumps(
        {
            **json.loads(FILES["coco"]["train.json"]),
            "annotations": [
                {
                    "id": 3,
                    "image_id": 7,
                    "category_id": 2,
                    "bbox": [200, 150, 160, 40, -30],
                    "area": 6400.0,
                    "iscrowd": 0,
                }
            ],
        }
    )
}
FILES["label-studio-predictions"] = {
    "tasks.json": json.dumps(
        [
            {
                "data": {"image": "https://example.com/images/a1.png?size=large"},
                "predictions": [
                    {"model_version": "1", **{k: v for k, v in annotation.items() if k == "result"}}
                    for annotation in json.loads(FILES["label-studio"]["project-1.json"])[0][
                        "annotations"
                    ]
                ],
            }
        ]
    )
}
# Upright boxes cannot show the ship as it lies; CVAT adds its turn as an attribute.
FILES["voc"] = {
    "a1.xml": _voc(
        "<bndbox><xmin>120.0</xmin><ymin>130.0</ymin><xmax>280.0</xmax><ymax>170.0</ymax></bndbox>"
        "<attributes><attribute><name>rotation</name><value>30.0</value></attribute></attributes>"
    )
}
