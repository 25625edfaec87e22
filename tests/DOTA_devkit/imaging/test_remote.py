"""Images that make GDAL read other files or ask servers: only with `allow_remote`."""

import http.server
import threading

import cv2
import numpy as np
import pytest

from deploy.predict.sources import find_sources, inspect_images
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, image_size_wh, read_image
from DOTA_devkit.splitting import open_source
from helpers.rasters import write_tiff

rasterio = pytest.importorskip("rasterio")

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def server():
    """A server on this machine, and the paths that it was asked for."""
    asked = []
    _, png = cv2.imencode(".png", PIXELS)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(png)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(png.tobytes())

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()
        thread.join()


def vrt_of(name):
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{name}'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    return f'<VRTDataset rasterXSize="60" rasterYSize="40">{bands}</VRTDataset>'


def wms_of(url):
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl>'
        "</Service><DataWindow><SizeX>60</SizeX><SizeY>40</SizeY></DataWindow>"
        "<BandsCount>3</BandsCount></GDAL_WMS>"
    )


@pytest.mark.parametrize("suffix", [".tif", ".jp2", ".vrt"])
@pytest.mark.parametrize("kind", ["vrt", "vrt of a local file", "wms", " vrt"])
@pytest.mark.slow
def test_virtual_images_are_refused(tmp_path, server, suffix, kind):
    url, asked = server
    secret = write_tiff(tmp_path / "secret.tif", PIXELS)
    path = tmp_path / f"scene{suffix}"
    text = {
        "vrt": vrt_of(f"/vsicurl/{url}/x.png"),
        " vrt": "\n  " + vrt_of(f"/vsicurl/{url}/x.png"),
        "vrt of a local file": vrt_of(secret),
        "wms": wms_of(url),
    }[kind]
    path.write_text(text)
    _, faults = inspect_images([path])
    assert "a virtual image, which names other files or servers" in faults[str(path)]
    for use in (read_image, image_size_wh, open_source):
        with pytest.raises(InputError, match="scene"):
            use(path)
    assert asked == []


def test_virtual_images_on_request(tmp_path, server):
    url, asked = server
    path = tmp_path / "scene.vrt"
    path.write_text(vrt_of(f"/vsicurl/{url}/x.png"))
    image = read_image(path, ReadOptions(allow_remote=True))
    np.testing.assert_array_equal(image, PIXELS)
    assert asked


def test_remote_paths_of_a_list(tmp_path, server):
    url, asked = server
    (tmp_path / "list.txt").write_text(f"/vsicurl/{url}/x.tif\n{url}/y.tif\n")
    paths = find_sources([tmp_path / "list.txt"])
    sources, faults = inspect_images(paths)
    assert not sources and len(faults) == 2 and asked == []
    assert all("no such file; remote images are read with `allow_remote`" in text
               for text in faults.values())  # fmt: skip


def test_sidecar_of_an_image_opens_no_remote_file(tmp_path, server):
    """GDAL looks for reduced images where `.aux.xml` says."""
    url, asked = server
    path = write_tiff(tmp_path / "a.tif", np.tile(PIXELS, (20, 20, 1)))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
        f"/vsicurl/{url}/x.tif</MDI></Metadata></PAMDataset>"
    )
    (source,), _ = inspect_images([path])
    with source.open() as reader:
        assert reader.overview(100).shape == (67, 100, 3)
    assert asked == []


def test_misnamed_images_are_read(tmp_path):
    for suffix in (".png", ".bmp"):
        cv2.imwrite(str(tmp_path / f"a{suffix}"), PIXELS)
        path = (tmp_path / f"a{suffix}").rename(tmp_path / f"{suffix[1:]}.tif")
        (source,), _ = inspect_images([path])
        with source.open() as reader:
            np.testing.assert_array_equal(reader.window(0, 0, (60, 40)), PIXELS)
        np.testing.assert_array_equal(read_image(path), PIXELS)
