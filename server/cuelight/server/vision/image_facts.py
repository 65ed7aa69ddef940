"""What a version says of itself as a classifier of images: its metadata, read against its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from cuelight.server.inference.model_metadata import EMBEDDING_KEY, labels_from_metadata
from cuelight.server.inference.signature import WILDCARD, ModelSignature, TensorSpec
from cuelight.server.vision.preprocessing import PREPROCESSING_KEY, MetadataUnusable, Preprocessing, preprocessing_of

__all__ = ["ImageFacts", "image_facts"]

_LABELS_KEY = "cuelight.labels"
_SCORES_KEY = "cuelight.scores"
_FREE_OR_ONE = (WILDCARD, 1)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """How images go in and what comes out. `embedding` is empty for a model that gives none, for the reason given."""

    input: str
    scores: str
    scores_are_logits: bool
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    embedding: str = ""
    embedding_dimension: int = 0
    why_no_embedding: str = ""


def image_facts(metadata: Mapping[str, str], signature: ModelSignature) -> ImageFacts:
    """Read the metadata against the tensors. Raises: MetadataUnusable naming the key or the tensor."""
    if PREPROCESSING_KEY not in metadata:
        raise MetadataUnusable(f'its metadata "{PREPROCESSING_KEY}" is missing')
    preprocessing = preprocessing_of(metadata[PREPROCESSING_KEY])
    embedding, why_no_embedding = _embedding(metadata, signature)
    scores = next((spec for name, spec in signature.outputs.items() if name != embedding), None)
    if scores is None:
        raise MetadataUnusable("it gives nothing but its embedding")
    kind = metadata.get(_SCORES_KEY, "logits")
    if kind not in ("logits", "probabilities"):
        raise MetadataUnusable(f'metadata "{_SCORES_KEY}": got "{kind}", expected "logits" or "probabilities"')
    return ImageFacts(
        input=_input_name(signature, preprocessing),
        scores=scores.name,
        scores_are_logits=kind == "logits",
        labels=_labels(metadata, signature, scores),
        preprocessing=preprocessing,
        embedding=embedding,
        embedding_dimension=_row_size(signature.outputs[embedding]) if embedding else 0,
        why_no_embedding=why_no_embedding,
    )


def _embedding(metadata: Mapping[str, str], signature: ModelSignature) -> tuple[str, str]:
    """Return the output that is the image's vector, or why there is none: labels do without."""
    name = metadata.get(EMBEDDING_KEY, "")
    if not name:
        return "", f'its metadata "{EMBEDDING_KEY}" is missing'
    if name not in signature.outputs:
        return "", f'its metadata "{EMBEDDING_KEY}" names output "{name}", which it does not give'
    return name, ""


def _input_name(signature: ModelSignature, preprocessing: Preprocessing) -> str:
    """Return the one input, that must take what preprocessing gives."""
    needed = [spec for spec in signature.inputs.values() if not spec.optional]
    if len(needed) != 1:
        raise MetadataUnusable(f"it takes {len(needed)} inputs ({', '.join(spec.name for spec in needed)}), expected 1")
    spec, shape = needed[0], preprocessing.shape
    fits = len(spec.shape) == 4 and all(
        there in (WILDCARD, size) for there, size in zip(spec.shape[1:], shape, strict=True)
    )
    if spec.datatype.name != preprocessing.datatype or not fits or spec.shape[0] not in _FREE_OR_ONE:
        made = f"{preprocessing.datatype} [{','.join(str(size) for size in (-1, *shape))}]"
        raise MetadataUnusable(
            f'metadata "{PREPROCESSING_KEY}" makes {made}, but input "{spec.name}" is {spec.describe()}'
        )
    return spec.name


def _labels(metadata: Mapping[str, str], signature: ModelSignature, scores: TensorSpec) -> tuple[str, ...]:
    labels = signature.labels.get(scores.name) or labels_from_metadata(metadata, "the model")
    if not labels:
        raise MetadataUnusable(f'its metadata "{_LABELS_KEY}" is missing')
    classes = _row_size(scores)
    if classes not in (WILDCARD, len(labels)):
        raise MetadataUnusable(
            f'metadata "{_LABELS_KEY}" has {len(labels)} labels, output "{scores.name}" is {scores.describe()}'
        )
    return labels


def _row_size(spec: TensorSpec) -> int:
    """Return how many numbers an output has for an image."""
    if spec.datatype.name not in ("FP32", "FP64", "FP16") or len(spec.shape) != 2 or spec.shape[0] not in _FREE_OR_ONE:
        raise MetadataUnusable(f'output "{spec.name}" is {spec.describe()}, expected FP32 [-1,N]')
    return spec.shape[1]
