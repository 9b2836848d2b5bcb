"""Draws the arrays of an output folder's meshes into matplotlib axes: fields in 2D as maps, sampled on a fine raster; fields
in 3D as pictures that ParaView makes of a box with a corner cut out. Used by render.py, inside of pvbatch."""
import os
import tempfile

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colors, ticker
from paraview import servermanager, simple
from paraview.vtk.util.numpy_support import vtk_to_numpy

RASTER = 900  # points along the longer side of a map
PIXELS = 1100  # width of a ParaView picture


def open_data(path):
    """The ParaView reader of a .pvd file at its last time."""
    if not os.path.isfile(path):
        return None
    reader = simple.OpenDataFile(path)
    times = list(getattr(reader, "TimestepValues", None) or [])
    simple.GetAnimationScene().UpdateAnimationUsingDataTimeSteps()
    if times:
        simple.GetAnimationScene().AnimationTime = times[-1]
        reader.UpdatePipeline(times[-1])
    else:
        reader.UpdatePipeline()
    return reader


def make_scene(reader, length_unit, window=None):
    """`window`: x0, y0, x1, y1 of what is drawn of a 2D mesh; None: all."""
    bounds = reader.GetDataInformation().GetBounds()
    is_flat = bounds[5] - bounds[4] <= 1e-12 * (bounds[1] - bounds[0])
    if window and is_flat:
        bounds = (window[0], window[2], window[1], window[3], *bounds[4:])
    scene = Flat(reader, bounds) if is_flat else Box(reader, bounds)
    scene.coordinates = [f"{name} [{length_unit}]" if length_unit else name for name in "xyz"]
    return scene


class Flat:
    """Draws arrays of a 2D mesh as maps. The mesh is sampled once, at the centres of the pixels."""

    dim = 2

    def __init__(self, reader, bounds):
        self.extent = bounds[:4]
        width, height = bounds[1] - bounds[0], bounds[3] - bounds[2]
        pixel = max(width, height) / RASTER
        shape = [max(2, round(width / pixel)), max(2, round(height / pixel))]
        half = [0.5 * width / shape[0], 0.5 * height / shape[1]]
        raster = simple.ResampleToImage(Input=reader)
        raster.UseInputBounds = 0
        raster.SamplingDimensions = shape + [1]
        raster.SamplingBounds = [bounds[0] + half[0], bounds[1] - half[0], bounds[2] + half[1], bounds[3] - half[1],
                                 bounds[4], bounds[4]]
        data = servermanager.Fetch(raster).GetPointData()
        outside = vtk_to_numpy(data.GetArray("vtkValidPointMask")) == 0
        self.values = {}
        for i in range(data.GetNumberOfArrays()):
            array = vtk_to_numpy(data.GetArray(i))
            if array.ndim == 1:
                values = np.where(outside, np.nan, array).reshape(shape[1], shape[0])
                self.values[data.GetArrayName(i)] = np.ma.masked_invalid(values)
        self.outside = outside.reshape(shape[1], shape[0])
        self.aspect = height / width

    def arrays(self):
        return list(self.values)

    def range(self, name):
        return float(self.values[name].min()), float(self.values[name].max())

    def draw(self, axes, name, norm, cmap, contours=False):
        values = self.values[name]
        axes.imshow(values, origin="lower", extent=self.extent, norm=norm, cmap=cmap, interpolation="nearest")
        if contours and values.max() > values.min():
            lines = axes.contour(values, extent=self.extent, levels=ticker.MaxNLocator(9).tick_values(*self.range(name)),
                                 colors="white", linewidths=0.6, alpha=0.75)
            axes.clabel(lines, fontsize=6.5, inline_spacing=2)
        self.frame(axes)

    def frame(self, axes, fill=None):
        """The outline of the domain and the coordinates; with `fill`, the domain in one colour."""
        if fill:
            axes.imshow(np.ma.masked_where(self.outside, np.zeros(self.outside.shape)), origin="lower", extent=self.extent,
                        cmap=colors.ListedColormap([fill]), interpolation="nearest")
        if self.outside.any():
            padded = np.pad(self.outside, 1, constant_values=True).astype(float)
            x0, x1, y0, y1 = self.extent
            dx, dy = (x1 - x0) / self.outside.shape[1], (y1 - y0) / self.outside.shape[0]
            axes.contour(padded, levels=[0.5], extent=(x0 - dx, x1 + dx, y0 - dy, y1 + dy), colors="#333333", linewidths=0.6)
            axes.set_frame_on(False)
        axes.set_xlim(self.extent[:2])
        axes.set_ylim(self.extent[2:])
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))

    def name_axes(self, axes):
        """All maps have the same axes: numbers only at the left and at the bottom of the figure."""
        axes.set_xlabel(self.coordinates[0] if axes.is_bottom else "")
        axes.set_ylabel(self.coordinates[1] if axes.is_left else "")
        axes.tick_params(labelleft=axes.is_left, labelbottom=axes.is_bottom)

    def scatter(self, axes, points, solid=True, **how):
        del solid
        x0, x1, y0, y1 = self.extent
        x, y = points.T
        outside = (x < x0) | (x > x1) | (y < y0) | (y > y1)
        return axes.scatter(np.where(outside, np.nan, x), y, clip_on=False, zorder=5, **how)


# The three planes through the middle, each with its normal into the corner (high x, low y, high z) that looks at the camera.
CORNER = ((1, 0, 0), (0, -1, 0), (0, 0, 1))


def half(source, normal, towards):
    """The part of the source on one side of the plane through the origin."""
    clip = simple.Clip(Input=source)
    clip.ClipType = "Plane"
    clip.ClipType.Origin = [0, 0, 0]
    clip.ClipType.Normal = normal
    clip.Invert = 0 if towards else 1
    return clip


def without_corner(source):
    """Three pieces, each cut by planes: ParaView's box clip bevels the edges of the cut."""
    x, y, z = CORNER
    front = half(source, x, True)
    pieces = [half(source, x, False), half(front, y, False), half(half(front, y, True), z, False)]
    return simple.AppendDatasets(Input=pieces)


def corner_faces(source):
    """The three faces of the cut."""
    for normal in CORNER:
        face = simple.Slice(Input=source)
        face.SliceType = "Plane"
        face.SliceType.Origin = [0, 0, 0]
        face.SliceType.Normal = normal
        for other in CORNER:
            face = half(face, other, True) if other != normal else face
        yield simple.ExtractSurface(Input=simple.CleantoGrid(Input=face))


def edges_of(surface, angle):
    edges = simple.FeatureEdges(Input=surface)
    edges.NonManifoldEdges = 0
    edges.FeatureAngle = angle
    return edges


class Box:
    """Draws arrays of a 3D mesh as ParaView pictures: the nearest corner is cut out, so that the inside is seen. A thin
    layer is stretched vertically."""

    dim = 3
    to_camera = np.array([0.62, -0.64, 0.46]) / np.linalg.norm([0.62, -0.64, 0.46])
    margins = np.array([0.09, 0.12, 0.13, 0.03])  # for the numbers, beside the picture: left, below, right, above

    def __init__(self, reader, bounds):
        self.reader = reader
        self.low, self.high = np.array(bounds[0::2]), np.array(bounds[1::2])
        size = self.high - self.low
        stretch = 0.35 * max(size[:2]) / size[2] if size[2] < 0.2 * max(size[:2]) else 1
        self.stretch = np.array([1, 1, float(f"{stretch:.1g}")])
        self.centre = 0.5 * (self.low + self.high)
        self.right = np.cross([0, 0, 1], self.to_camera)
        self.right /= np.linalg.norm(self.right)
        self.up = np.cross(self.to_camera, self.right)
        corners = np.array([[(self.low, self.high)[k][i] for i, k in enumerate(c)] for c in np.ndindex(2, 2, 2)])
        projected = self.project(corners)
        self.window = np.concatenate([projected.min(axis=0), projected.max(axis=0)])
        width, height = self.window[2:] - self.window[:2]
        self.aspect = height * (1 + self.margins[1] + self.margins[3]) / (width * (1 + self.margins[0] + self.margins[2]))
        self.view, self.solid = None, None

    def arrays(self):
        return list(self.reader.PointData.keys()) + list(self.reader.CellData.keys())

    def data_information(self, name):
        data = self.reader.PointData if name in self.reader.PointData.keys() else self.reader.CellData
        return data[name]

    def range(self, name):
        return self.data_information(name).GetRange()

    def stretched(self, points):
        return (np.asarray(points) - self.centre) * self.stretch

    def project(self, points):
        """Coordinates in the plane of the picture."""
        points = self.stretched(points)
        return np.column_stack([points @ self.right, points @ self.up])

    def set_up(self):
        """The view and the solid that all pictures share, made once."""
        view = simple.CreateView("RenderView")
        view.OrientationAxesVisibility = 0
        view.UseColorPaletteForBackground = 0
        view.Background = [1, 1, 1]
        view.CameraParallelProjection = 1
        width, height = self.window[2:] - self.window[:2]
        self.picture = [PIXELS, round(PIXELS * height / width)]
        view.ViewSize = self.picture
        centre = 0.5 * (self.window[:2] + self.window[2:])
        focus = centre[0] * self.right + centre[1] * self.up
        view.CameraFocalPoint = focus
        view.CameraPosition = focus + 10 * np.linalg.norm((self.high - self.low) * self.stretch) * self.to_camera
        view.CameraViewUp = [0, 0, 1]
        view.CameraParallelScale = 0.5 * height
        self.view = view

        # Cells come with points of their own; merged, only the surface has faces that belong to one cell.
        placed = simple.Transform(Input=simple.CleantoGrid(Input=self.reader))
        placed.Transform.Scale = self.stretch
        placed.Transform.Translate = -self.centre * self.stretch
        self.solid = without_corner(placed)
        feature = edges_of(simple.ExtractSurface(Input=placed), angle=40)
        for lines in [without_corner(feature)] + [edges_of(face, angle=180) for face in corner_faces(placed)]:
            shown = simple.Show(lines, view)
            shown.ColorArrayName = [None, ""]
            shown.AmbientColor = shown.DiffuseColor = [0.15, 0.15, 0.15]
            shown.Ambient, shown.Diffuse = 1, 0
            shown.LineWidth = 2.5
            shown.RenderLinesAsTubes = 1

    def draw(self, axes, name, norm, cmap, contours=False):
        del contours
        if self.view is None:
            self.set_up()
        display = simple.Show(self.solid, self.view)
        self.color(display, name, norm, cmap)
        display.Ambient, display.Diffuse, display.Specular = 0.78, 0.28, 0.0
        axes.imshow(self.screenshot(), extent=self.window[[0, 2, 1, 3]], interpolation="antialiased")
        simple.Hide(self.solid, self.view)
        self.frame(axes)

    def color(self, display, name, norm, cmap):
        """Colours by the array with matplotlib's colour map, so that the colour bar beside the picture is right."""
        association = "POINTS" if name in self.reader.PointData.keys() else "CELLS"
        simple.ColorBy(display, (association, name))
        display.SetScalarBarVisibility(self.view, False)
        table = simple.GetColorTransferFunction(name)
        steps = np.linspace(0, 1, 256)
        table.ColorSpace = "RGB"
        table.UseLogScale = 0
        table.Discretize = 0
        points = zip(norm.inverse(steps), matplotlib.colormaps[cmap](steps))
        table.RGBPoints = [float(number) for value, color in points for number in (value, *color[:3])]
        display.LookupTable = table

    def screenshot(self):
        simple.Render(self.view)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "view.png")
            simple.SaveScreenshot(path, self.view, ImageResolution=self.picture)
            return plt.imread(path)

    def frame(self, axes, fill=None):
        x0, y0, x1, y1 = self.window
        if fill:
            self.wire_frame(axes)
        axes.set_xlim(x0 - self.margins[0] * (x1 - x0), x1 + self.margins[2] * (x1 - x0))
        axes.set_ylim(y0 - self.margins[1] * (y1 - y0), y1 + self.margins[3] * (y1 - y0))
        axes.set_aspect("equal")
        axes.set_axis_off()
        low, high = self.low, self.high
        self.label_edge(axes, (low[0], low[1], low[2]), (high[0], low[1], low[2]), 0, (-0.35, -1))
        self.label_edge(axes, (high[0], low[1], low[2]), (high[0], high[1], low[2]), 1, (0.35, -1))
        self.label_edge(axes, (high[0], high[1], low[2]), (high[0], high[1], high[2]), 2, (1, 0))
        if self.stretch[2] != 1:
            note = f"z stretched {self.stretch[2]:g} times"
            axes.text(x0 - 0.07 * (x1 - x0), y1, note, fontsize=7, color="#555555", va="top")

    def label_edge(self, axes, start, end, axis, away):
        """The coordinates of an edge's ends, and its name in the middle, set off in the direction `away`."""
        first, last = self.project([start, end])
        offset = 0.02 * np.array(away) * (self.window[2] - self.window[0])
        align = {"va": "top" if away[1] else "center", "ha": "right" if away[0] < 0 else "left"}
        for fraction, text, far in ((0.06, f"{start[axis]:g}", 1), (0.94, f"{end[axis]:g}", 1),
                                    (0.5, self.coordinates[axis], 1.6)):
            axes.text(*(first + fraction * (last - first) + far * offset), text, fontsize=8 if far == 1 else 9, **align)

    def wire_frame(self, axes):
        for axis in range(3):
            for others in np.ndindex(2, 2):
                start, end = np.insert(others, axis, 0), np.insert(others, axis, 1)
                line = self.project(self.low + np.array([start, end]) * (self.high - self.low))
                hidden = others == ((1, 0), (0, 0), (0, 1))[axis]  # the edges at the corner that is farthest from the camera
                axes.plot(line[:, 0], line[:, 1], color="#999999" if hidden else "#333333", linewidth=0.6,
                          linestyle=(0, (4, 3)) if hidden else "-", zorder=1)

    def name_axes(self, axes):
        pass

    def visible(self, points):
        """Points in the corner that is cut out, or on a face that is seen; all others are inside the solid."""
        place = (np.asarray(points) - self.centre) / (0.5 * (self.high - self.low))
        towards = place * [1, -1, 1]
        return (towards > -0.02).all(axis=1) | (towards > 0.98).any(axis=1)

    def scatter(self, axes, points, solid=True, **how):
        """Points from far to near; behind the surface of the solid they are faint."""
        order = np.argsort(self.stretched(points) @ self.to_camera)
        projected = self.project(points)[order]
        if np.ndim(how.get("c")) == 1:
            how["c"] = np.asarray(how["c"])[order]
        alpha = np.where(self.visible(points)[order], 1, 0.3) if solid else None
        return axes.scatter(projected[:, 0], projected[:, 1], zorder=5, alpha=alpha, **how)
