"""Detection data sets from disk into one table of boxes, and back.

``table`` has the two tables and their schema, ``checks`` what is wrong with boxes and how that is said, ``order`` which
images make a subset; ``coco``, ``yolo`` and ``voc`` read and write, ``visdrone``, ``photos`` and ``videos`` read. Not
here: pixels (``datasets``), detectors, matching and average precision.
"""

from realfake.annotations.checks import in_words as in_words
from realfake.annotations.coco import read_coco as read_coco
from realfake.annotations.coco import write_coco as write_coco
from realfake.annotations.order import ends as ends
from realfake.annotations.order import image_order as image_order
from realfake.annotations.order import split as split
from realfake.annotations.photos import read_heridal as read_heridal
from realfake.annotations.photos import read_icg as read_icg
from realfake.annotations.photos import read_sard as read_sard
from realfake.annotations.table import BOXES as BOXES
from realfake.annotations.table import IMAGES as IMAGES
from realfake.annotations.table import NO_CLASS as NO_CLASS
from realfake.annotations.table import Annotations as Annotations
from realfake.annotations.videos import read_archangel as read_archangel
from realfake.annotations.videos import read_okutama as read_okutama
from realfake.annotations.visdrone import drop_in_regions as drop_in_regions
from realfake.annotations.visdrone import in_regions as in_regions
from realfake.annotations.visdrone import read_visdrone as read_visdrone
from realfake.annotations.voc import read_voc as read_voc
from realfake.annotations.voc import write_voc as write_voc
from realfake.annotations.yolo import read_yolo as read_yolo
from realfake.annotations.yolo import write_yolo as write_yolo
from realfake.sources import DatasetError as DatasetError
