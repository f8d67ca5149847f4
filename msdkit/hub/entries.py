"""Data sets, features and checkpoints that others publish: where, under which licence, how.

Sizes and sha256 stand here only where a second source gives them (MMF's zoo, ParlAI, torchvision,
the pages of the hub); nothing of this is handed out with msdkit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MMF = "https://dl.fbaipublicfiles.com/mmf/data/"  # what MMF's zoo writes as mmf://
HUB = "https://huggingface.co/"
VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_"
COCO = "http://images.cocodataset.org/zips/"
UNITER = "https://acvrpublicycchen.blob.core.windows.net/uniter/"
REGIONS = "https://imagecaption.blob.core.windows.net/imagecaption/"
SNLI_VE = "https://storage.googleapis.com/allennlp-public-data/snli-ve/snli_ve_"
UNSTATED = "not stated by its publisher"
MMF_LICENCE = f"{UNSTATED}; MMF's code: BSD-3-Clause"
COCO_LICENCE = "photographs: their owners' (Flickr's terms of use)"


@dataclass(frozen=True)
class File:
    """One file to fetch; an archive is unpacked and then deleted.

    size: bytes; sha256: hexadecimal; None where they are not known. into: a subfolder.
    """

    address: str
    size: int | None = None
    sha256: str | None = None
    into: str = ""

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """What the zoo knows of one thing.

    source: its publisher's page; steps: what only a person can do, such as accepting a licence;
    use: how a config names it, FOLDER being where it was put.
    """

    name: str
    kind: Literal["data set", "features", "checkpoint", "tokenizer"]
    about: str
    licence: str
    source: str
    files: tuple[File, ...] = ()
    steps: tuple[str, ...] = ()
    use: str = ""


DATA = (
    Entry(
        "hateful_memes", "data set",
        "Memes, hateful or not (Kiela et al., arXiv 2005.04790); phases 1 and 2",
        "Meta's Hateful Memes licence: research, no redistribution; accepted by each user",
        "https://hatefulmemeschallenge.com",
        steps=(
            "Open https://hatefulmemeschallenge.com/#download, read the licence, fill in the form "
            "and accept it.",
            "Or register at DrivenData and download it from "
            "https://www.drivendata.org/competitions/64/hateful-memes/data/ (phase 1) or "
            ".../competitions/70/hateful-memes-phase-2/data/ (phase 2); note the password there. "
            "Both pages have been reported out of service at times; there is no direct address.",
            "Unpack it with that password into FOLDER (`unzip` asks for it), so that "
            "FOLDER/train.jsonl and FOLDER/img/ are there.",
        ),
        use="dataset: {name: hateful_memes, folder: FOLDER}",
    ),
    Entry(
        "mmimdb", "data set",
        "Posters and plots of 25,959 films -> genres (Arevalo et al., arXiv 1702.01992)",
        "research; plots and posters belong to IMDb and their makers",
        "https://github.com/johnarevalo/gmu-mmimdb",
        (File("https://archive.org/download/mmimdb/mmimdb.tar.gz",
              sha256="7facb412f84e8e707cf5c15bb58e4cf3ac12d33e6e944e1bdefebada1259a253"),),
        use="dataset: {name: mmimdb, folder: FOLDER/mmimdb}",
    ),
    Entry(
        "mmimdb_hdf5", "data set",
        "MM-IMDB as one hdf5 file with VGG features of the posters",
        "research; plots and posters belong to IMDb and their makers",
        "https://github.com/johnarevalo/gmu-mmimdb",
        (File("https://archive.org/download/mmimdb/multimodal_imdb.hdf5"),),
        (
            "The reader needs metadata.npy (the words of the plots) beside it; gmu-mmimdb's code "
            "writes that file. Whether it is published somewhere is not known here.",
        ),
        use="dataset: {name: mmimdb, folder: FOLDER, image: vgg}",
    ),
    Entry(
        "snli_ve", "data set",
        "Photograph and sentence -> entailment, neutral, contradiction (arXiv 1901.06706); the "
        "sentences in AllenNLP's public copy",
        "sentences (SNLI): CC BY-SA 4.0; photographs (Flickr30k): by request, for research",
        "https://github.com/necla-ml/SNLI-VE",
        tuple(File(f"{SNLI_VE}{split}.jsonl.gz") for split in ("train", "dev", "test")),
        (
            "The photographs are not handed out by address: open "
            "http://shannon.cs.illinois.edu/DenotationGraph/, fill in the request form of the "
            "Flickr 30k images and accept its terms.",
            "Unpack what you are sent, so that the photographs lie in FOLDER/flickr30k-images/; or "
            "use region features and `image: key`.",
        ),
        "dataset: {name: snli_ve, folder: FOLDER}",
    ),
    Entry(
        "vqa2", "data set",
        "Questions about COCO's photographs and ten answers to each (arXiv 1612.00837)",
        "annotations: CC BY 4.0; photographs: see coco_images",
        "https://visualqa.org/download.html",
        (
            File(f"{VQA}Questions_Train_mscoco.zip", 7_239_401,
                 "05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e"),
            File(f"{VQA}Questions_Val_mscoco.zip", 3_494_929,
                 "e71f6c5c3e97a51d050f28243e262b28cd0c48d11a6b4632d769d30d3f93222a"),
            File(f"{VQA}Questions_Test_mscoco.zip", None,
                 "982e2e687a86514b78ea83af356d151976c5e3fb4168a29ca543610574082ad7"),
            File(f"{VQA}Annotations_Train_mscoco.zip", 21_708_861,
                 "fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853"),
            File(f"{VQA}Annotations_Val_mscoco.zip", 10_518_930,
                 "0caae7c8d1dafd852727f5ac046bc1efca9b72026bd6ffa34fc489f3a7b3291e"),
        ),
        ("Photographs: `msdkit zoo get coco_images --to FOLDER`, or region features and "
         "`image: key`.",),
        "dataset: {name: vqa2, folder: FOLDER}",
    ),
    Entry(
        "coco_images", "data set",
        "Photographs of COCO that VQA v2 asks about: train2014, val2014, test2015",
        COCO_LICENCE,
        "https://cocodataset.org/#download",
        (
            File(f"{COCO}train2014.zip", 13_510_573_713,
                 "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775"),
            File(f"{COCO}val2014.zip", 6_645_013_297,
                 "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0"),
            File(f"{COCO}test2015.zip"),
        ),
        use="dataset: {name: vqa2, folder: …, images: FOLDER}",
    ),
    *(
        Entry(
            f"mmf_{name}_annotations", "data set", f"MMF's files of {title}", MMF_LICENCE,
            "https://github.com/facebookresearch/mmf",
            (File(f"{MMF}datasets/{there}/defaults/annotations/{file}.tar.gz", None, digest),),
            use=f"dataset: {{name: {name}, folder: FOLDER}}",
        )
        for name, there, file, title, digest in (
            ("mmimdb", "mmimdb", "mmimdb", "MM-IMDB (its own split, jsonl)",
             "5df7486bf143b073b7fb8a1738ce806876529d30a8aa13b967614d8a6c72a360"),
            ("snli_ve", "visual_entailment", "annotations", "SNLI-VE",
             "34432c8c25cce276e65d98272611c1295fc4bfad8da088c4d94285ee2f8ed113"),
            ("vqa2", "vqa2", "annotations", "VQA v2 (imdb_*.npy)",
             "58daa4b6e5992258049f18a9d7a397e027bdd29388027aad90b41c687024a7b8"),
        )
    ),
)  # fmt: skip

FEATURES = (
    *(
        Entry(
            f"mmf_{name}_features", "features", f"MMF's region features (LMDB) of {title}",
            licence, "https://github.com/facebookresearch/mmf",
            tuple(File(f"{MMF}datasets/{name}/defaults/features/{file}.tar.gz", None, digest)
                  for file, digest in files),
            use="msdkit features import FOLDER/….lmdb --to STORE",
        )
        for name, title, licence, files in (
            ("hateful_memes", "Hateful Memes", "as hateful_memes", (
                ("features", "1eb8e5379fcf8f91fda92aa8f5926a536f3788bf07fe0f72ea7efc2d8427f12d"),)),
            ("mmimdb", "MM-IMDB's posters", "as mmimdb", (
                ("features", "dab8ef859d872fa42f84eb6f710d408929bc35f056ca699b47e8a43d0657f3f1"),)),
            ("flickr30k", "Flickr30k's photographs, for SNLI-VE", "as snli_ve", (
                ("features", "679af7902f342480c1e039bb0be3ddabb8b88a4c45a2c17f9b97e4f10689475a"),)),
            ("coco", "COCO's photographs, for VQA v2", COCO_LICENCE, (
                ("trainval2014",
                 "242b4a2bf3ab930c3275d3ab9b4e1dccd1fb1745d3e939f8d50482d83e1fd1ad"),
                ("test2015",
                 "ddfba5d07b01f31456d7e3caeeb03aecc379a45b729992c6efaf1d76c601f072"))),
        )
    ),
    *(
        Entry(
            f"bottom_up_{name}", "features",
            f"Bottom-up attention (arXiv 1707.07998), {boxes} regions of each COCO photograph, TSV",
            f"MIT (code); {COCO_LICENCE}", "https://github.com/peteanderson80/bottom-up-attention",
            (File(f"{REGIONS}trainval{suffix}.zip"), File(f"{REGIONS}test2015{suffix}.zip")),
            ("Both this store and its copy at https://storage.googleapis.com/up-down-attention/ "
             "have been reported closed (HTTP 409 and 403); uniter_coco_features holds features of "
             "the same detector.",),
            "msdkit features import FOLDER/… --to STORE",
        )
        for name, boxes, suffix in (("36", "36", "_36"), ("adaptive", "10 to 100", ""))
    ),
    *(
        Entry(
            f"uniter_{name}_features", "features",
            f"UNITER's region features (LMDB, bottom-up attention) of {title}",
            "MIT (code); photographs: their owners'", "https://github.com/ChenRocks/UNITER",
            tuple(File(f"{UNITER}img_db/{file}.tar") for file in files),
            use="msdkit features import FOLDER/… --to STORE",
        )
        for name, title, files in (
            ("coco", "COCO", ("coco_train2014", "coco_val2014", "coco_test2015")),
            ("flickr30k", "Flickr30k", ("flickr30k",)),
        )
    ),
)  # fmt: skip

_VISUAL_BERTS = {
    "vqa": None, "vqa-pre": None, "nlvr2": None, "nlvr2-pre": None, "nlvr2-coco-pre": None,
    "vcr-coco-pre": None,
    "vqa-coco-pre": "69e22671ead0bce5d51c9d729d0f9ebde5ace2d179db544dc9f115268a8bb23d",
    "vcr": "751432f9999d1efff44d292a1c6bb59d53c226882039a0bde0fe9f0e433d8cf0",
}  # fmt: skip
_MMF_VISUAL_BERTS = {
    "pretrained.coco": "9d809f7aedd7eb596951e32eef1d45f2d25adc5624af52cd828daf103a33b203",
    "pretrained.vqa2": "83c405bdaa263f62e6378e7e4c0645eeb19ab93389e299dfe1b9d1888438c72b",
    "pretrained.cc_full": "4351f9618a71b4fa9f52958d6742976ee0f31cae41714f1021e5cbca8aa1d31f",
    "finetuned.hateful_memes_direct":
        "1780582b65c0e5ab383bbf862f140daaa828963c38710f9cc004a7d883b219f8",
    "finetuned.hateful_memes_from_coco":
        "462d34eb35d7d00f50f14b8e06577b9f89074313761f3f94fd5161dc67b28525",
    "finetuned.mmimdb": "1826cc6750d0c5b7cf3d7cbd90cda6248af6579aae0edeeaf1dfd7381313bde7",
    "finetuned.visual_entailment":
        "e690c39b7f845f29379f19a159042a45bbf987975a418d2bb60aea6ece82d51a",
    "finetuned.vqa2.train": "e786351503f0e19abd916cc9063b427adc60a0f98f6686e58b296672e90b74c8",
    "finetuned.vqa2.train_val":
        "25890ea626bd1ca470027e33fabcca1a7b9a8880fddf6d472a11a9e5df525e90",
}  # fmt: skip
_TOKENIZER = "Its tokenizer: `msdkit zoo get {} --to …`."


def _hub(name: str, *files: str, sha256: str | None = None) -> tuple[File, ...]:
    """Files of a model of the hub; sha256 is that of its weights."""
    root = f"{HUB}{name}/resolve/main/"
    return tuple(File(root + f, sha256=sha256 if f.endswith(".bin") else None) for f in files)


MODELS = (
    *(
        Entry(
            f"visualbert_{name.replace('-', '_')}", "checkpoint",
            f"VisualBERT (arXiv 1908.03557), hub id uclanlp/visualbert-{name}", UNSTATED,
            f"{HUB}uclanlp/visualbert-{name}",
            _hub(f"uclanlp/visualbert-{name}", "config.json", "pytorch_model.bin", sha256=digest),
            (_TOKENIZER.format("bert_base_uncased_tokenizer"),),
            f"{{name: visual_bert, init: {{folder: FOLDER}}}}; or without this command, "
            f"folder: hf://uclanlp/visualbert-{name}",
        )
        for name, digest in sorted(_VISUAL_BERTS.items())
    ),
    *(
        Entry(
            f"mmf_visual_bert_{name.replace('.', '_')}", "checkpoint",
            f"MMF's VisualBERT, zoo key visual_bert.{name}", MMF_LICENCE,
            "https://github.com/facebookresearch/mmf",
            (File(f"{MMF}models/visual_bert/visual_bert.{name}.tar.gz", None, digest),),
            (_TOKENIZER.format("bert_base_uncased_tokenizer"),),
            "{name: visual_bert, init: {folder: FOLDER}}  # or the folder in it with the .pth",
        )
        for name, digest in _MMF_VISUAL_BERTS.items()
    ),
    *(
        Entry(
            f"uniter_{size}", "checkpoint", f"UNITER-{size} (arXiv 1909.11740), pre-trained",
            "MIT", "https://github.com/ChenRocks/UNITER",
            (File(f"{UNITER}pretrained/uniter-{size}.pt"),),
            (_TOKENIZER.format("bert_base_cased_tokenizer"),),
            "{name: uniter, init: {folder: FOLDER}}",
        )
        for size in ("base", "large")
    ),
    Entry(
        "tinybert_4l", "checkpoint",
        "TinyBERT, 4 layers of 312 (arXiv 1909.10351), hub id huawei-noah/TinyBERT_General_4L_312D",
        f"{UNSTATED} on the hub; the authors' code: Apache-2.0",
        f"{HUB}huawei-noah/TinyBERT_General_4L_312D",
        _hub("huawei-noah/TinyBERT_General_4L_312D",
             "config.json", "pytorch_model.bin", "vocab.txt"),
        (_TOKENIZER.format("bert_base_uncased_tokenizer"),),
        "{name: visual_bert, init: {folder: FOLDER}}",
    ),
    *(
        Entry(
            f"bert_base_{case}_tokenizer", "tokenizer", f"The word pieces of {models}",
            "Apache-2.0", f"{HUB}google-bert/bert-base-{case}",
            _hub(f"google-bert/bert-base-{case}", "tokenizer.json"),
            use="processors: {text: {name: tokenizer, file: FOLDER}}",
        )
        for case, models in (("uncased", "VisualBERT and TinyBERT"), ("cased", "UNITER"))
    ),
)  # fmt: skip

ENTRIES = {entry.name: entry for entry in (*DATA, *FEATURES, *MODELS)}
