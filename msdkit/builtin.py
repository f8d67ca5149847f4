"""Names of the plugins that ship with msdkit, where each lives, and which are chosen by default."""

from __future__ import annotations

from msdkit.registry import REGISTRIES

BUILTIN: dict[str, dict[str, str]] = {
    "models": {
        "clip_fusion": "msdkit.models.clip_fusion:ClipFusion",
        "fusion_transformer": "msdkit.models.fusion_transformer:FusionTransformer",
        "multi_teacher": "msdkit.runs.ensemble:MultiTeacher",
        "uniter": "msdkit.models.uniter:Uniter",
        "vilt": "msdkit.models.vilt:Vilt",
        "visual_bert": "msdkit.models.visual_bert:VisualBert",
    },
    "datasets": {
        "clipart_tags": "msdkit.datasets.clipart.tags:ClipartTags",
        "emoji_entail": "msdkit.datasets.emoji.entail:EmojiEntail",
        "emoji_match": "msdkit.datasets.emoji.match:EmojiMatch",
        "emoji_vqa": "msdkit.datasets.emoji.vqa:EmojiVqa",
        "hateful_memes": "msdkit.datasets.hateful_memes:HatefulMemes",
        "jsonl": "msdkit.datasets.jsonl:Jsonl",
        "mmimdb": "msdkit.datasets.mmimdb:MMIMDb",
        "planted": "msdkit.datasets.planted:Planted",
        "snli_ve": "msdkit.datasets.snli_ve:SnliVe",
        "vqa2": "msdkit.datasets.vqa2:Vqa2",
    },
    "processors": {
        "array": "msdkit.processors.array:Array",
        "features": "msdkit.processors.array:Features",
        "image_encoder": "msdkit.processors.image:ImageEncoder",
        "patches": "msdkit.processors.image:Patches",
        "pixels": "msdkit.processors.pixels:Pixels",
        "regions": "msdkit.processors.regions:Regions",
        "text_encoder": "msdkit.processors.text:TextEncoder",
        "tokenizer": "msdkit.processors.text:Tokenizer",
        "words": "msdkit.processors.text:Words",
    },
    "losses": {
        "attention_transfer": "msdkit.losses.features:AttentionTransfer",
        "bce": "msdkit.losses.task:BinaryCrossEntropy",
        "crd": "msdkit.losses.contrastive:ContrastiveRepresentation",
        "cross_entropy": "msdkit.losses.task:CrossEntropy",
        "dist": "msdkit.losses.logits:Dist",
        "dkd": "msdkit.losses.logits:DecoupledKD",
        "fitnet": "msdkit.losses.features:FitNet",
        "interaction": "msdkit.losses.interaction:Interaction",
        "jsd": "msdkit.losses.logits:JensenShannon",
        "kd": "msdkit.losses.logits:KnowledgeDistillation",
        "kl": "msdkit.losses.logits:KLDivergence",
        "kl_standardized": "msdkit.losses.logits:StandardizedKL",
        "minilm": "msdkit.losses.layers:MiniLM",
        "mse": "msdkit.losses.task:MeanSquaredError",
        "mse_logits": "msdkit.losses.logits:LogitMSE",
        "pkd": "msdkit.losses.features:PatientKD",
        "reverse_kl": "msdkit.losses.logits:ReverseKL",
        "rkd": "msdkit.losses.relations:RelationalKD",
        "sigmoid_kl": "msdkit.losses.logits:SigmoidKLDivergence",
        "soft_target_bce": "msdkit.losses.task:SoftTargetBCE",
        "sp": "msdkit.losses.relations:SimilarityPreserving",
        "tinybert": "msdkit.losses.layers:TinyBERT",
    },
    "weightings": {
        "agreement": "msdkit.weightings.agreement:Agreement",
        "control": "msdkit.weightings.control:Control",
        "learned": "msdkit.weightings.learned:Learned",
        "population": "msdkit.weightings.population:Population",
        "saliency": "msdkit.weightings.saliency:Saliency",
        "schedule": "msdkit.weightings.schedule:Schedule",
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
        "mae": "msdkit.metrics:MAE",
        "micro_f1": "msdkit.metrics:MicroF1",
        "r2": "msdkit.metrics:R2",
        "rmse": "msdkit.metrics:RMSE",
        "vqa_accuracy": "msdkit.metrics:VQAAccuracy",
    },
}

# What stands in for a plugin that no config names

DEFAULT_MASKING = "drop"
DEFAULT_LOSSES = {  # task losses, by task kind
    "single_label": "cross_entropy",
    "multi_label": "bce",
    "soft_target": "soft_target_bce",
    "regression": "mse",
}
DEFAULT_METRICS = {
    "single_label": ["accuracy", "macro_f1"],
    "multi_label": ["micro_f1", "macro_f1"],
    "soft_target": ["vqa_accuracy"],
    "regression": ["rmse", "r2"],
}
DEFAULT_PROCESSORS = {"text": "words", "image": "patches", "array": "array"}  # by raw kind


def announce() -> None:
    """Tell every registry the names that it ships with."""
    for kind, names in BUILTIN.items():
        for name, where in names.items():
            REGISTRIES[kind].register_lazy(name, where)
