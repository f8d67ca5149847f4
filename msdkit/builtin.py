"""Names of the plugins that ship with msdkit and where each lives (imported when asked for)."""

from __future__ import annotations

from msdkit.registry import REGISTRIES

BUILTIN: dict[str, dict[str, str]] = {
    "models": {
        "fusion_transformer": "msdkit.models.fusion_transformer:FusionTransformer",
        "visual_bert": "msdkit.models.visual_bert:VisualBert",
    },
    "datasets": {
        "emoji_entail": "msdkit.datasets.emoji_entail:EmojiEntail",
        "jsonl": "msdkit.datasets.jsonl:Jsonl",
    },
    "processors": {
        "array": "msdkit.processors.array:Array",
        "features": "msdkit.processors.array:Features",
        "image_encoder": "msdkit.processors.image:ImageEncoder",
        "patches": "msdkit.processors.image:Patches",
        "text_encoder": "msdkit.processors.text:TextEncoder",
        "tokenizer": "msdkit.processors.text:Tokenizer",
        "words": "msdkit.processors.text:Words",
    },
    "losses": {
        "bce": "msdkit.losses.task:BinaryCrossEntropy",
        "cross_entropy": "msdkit.losses.task:CrossEntropy",
        "kl": "msdkit.losses.logits:KLDivergence",
        "sigmoid_kl": "msdkit.losses.logits:SigmoidKLDivergence",
        "soft_target_bce": "msdkit.losses.task:SoftTargetBCE",
    },
    "weightings": {
        "control": "msdkit.weightings.control:Control",
        "population": "msdkit.weightings.population:Population",
        "saliency": "msdkit.weightings.saliency:Saliency",
    },
    "maskings": {
        "drop": "msdkit.models.masking:Drop",
        "mask_token": "msdkit.models.masking:MaskToken",
        "mean": "msdkit.models.masking:Mean",
        "shuffle": "msdkit.models.masking:Shuffle",
        "zero": "msdkit.models.masking:Zero",
    },
    "metrics": {
        "accuracy": "msdkit.metrics:Accuracy",
        "auroc": "msdkit.metrics:AUROC",
        "calibration_error": "msdkit.metrics:CalibrationError",
        "macro_f1": "msdkit.metrics:MacroF1",
        "micro_f1": "msdkit.metrics:MicroF1",
        "vqa_accuracy": "msdkit.metrics:VQAAccuracy",
    },
}


def announce() -> None:
    """Tell every registry the names that it ships with."""
    for kind, names in BUILTIN.items():
        for name, where in names.items():
            REGISTRIES[kind].register_lazy(name, where)
