"""How synthetic images relate to the real ones they were made from; what they are *worth* is measured by trials.

On plain arrays of features ``(n, d)``: the Fréchet distance (``frechet``), kernel distances (``kernels``), precision,
recall, density and coverage (``neighbourhoods``), copies (``copying``), how well a classifier tells real from synthetic
(``telling_apart``), whether images show what was asked for and how much they vary (``by_class``). Which features is
said by ``feature_spaces``; ``comparison`` and ``pools`` measure everything at once; ``sheets`` shows images.
"""

from realfake.fidelity.by_class import Diversity as Diversity
from realfake.fidelity.by_class import Recognisability as Recognisability
from realfake.fidelity.by_class import diversity as diversity
from realfake.fidelity.by_class import recognisability as recognisability
from realfake.fidelity.comparison import compare_images as compare_images
from realfake.fidelity.copying import CHUNK as CHUNK
from realfake.fidelity.copying import Copies as Copies
from realfake.fidelity.copying import Pair as Pair
from realfake.fidelity.copying import copies as copies
from realfake.fidelity.copying import copy_rate as copy_rate
from realfake.fidelity.copying import nearest as nearest
from realfake.fidelity.copying import pixels as pixels
from realfake.fidelity.feature_spaces import features as features
from realfake.fidelity.feature_spaces import space_name as space_name
from realfake.fidelity.frechet import frechet_distance as frechet_distance
from realfake.fidelity.kernels import Discrepancy as Discrepancy
from realfake.fidelity.kernels import class_discrepancy as class_discrepancy
from realfake.fidelity.kernels import kernel_distance as kernel_distance
from realfake.fidelity.kernels import maximum_mean_discrepancy as maximum_mean_discrepancy
from realfake.fidelity.neighbourhoods import Overlap as Overlap
from realfake.fidelity.neighbourhoods import density_coverage as density_coverage
from realfake.fidelity.neighbourhoods import overlaps as overlaps
from realfake.fidelity.neighbourhoods import precision_recall as precision_recall
from realfake.fidelity.pools import compare_pools as compare_pools
from realfake.fidelity.pools import rank_correlations as rank_correlations
from realfake.fidelity.sheets import contact_sheet as contact_sheet
from realfake.fidelity.sheets import nearest_sheet as nearest_sheet
from realfake.fidelity.telling_apart import Separability as Separability
from realfake.fidelity.telling_apart import separability as separability
