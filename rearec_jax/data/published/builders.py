"""Prepares and loads the paper's five data sets, as TensorFlow Datasets builders.

    interactions = builders.load(config)  # prepares on the first call; config.source == "tfds"

A prepared data set lies in <tfds_dir>/<builder>/<where its files come from>/<version>/, whole or
not at all: ArrayRecord files, `items.parquet` and `counts.json` (rows after each stage beside the
authors').
"""

from collections.abc import Iterator, Mapping
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

from absl import logging
import tensorflow_datasets as tfds

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.published import amazon2023, downloads, tfds_records, yelp
from rearec_jax.data.published.recipe import Prepared
from rearec_jax.data.published.row_counts import Counts
from rearec_jax.errors import UserError
from rearec_jax.run.files import directory_to_make, user_cache

_SAMPLE = 1 << 20  # bytes at each end of a local file that stand for its content


@dataclasses.dataclass
class RawFiles(tfds.core.BuilderConfig):
    """The raw files of a data set; ``name`` stands for their content.

    options: the options that say where the files lie and how they are read.
    """

    options: DataConfig = dataclasses.field(default_factory=DataConfig)


class SequenceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of one record a user. Its subclasses turn raw files into `Prepared`."""

    VERSION = tfds.core.Version("1.0.0")  # raise it when the same files would give other records
    HOMEPAGE: ClassVar[str] = ""
    AUTHORS: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    url_infos: ClassVar[dict[str, Any]] = {}  # TFDS's own would look for a file of checksums

    def prepare(self, options: DataConfig, counts: Counts) -> Prepared:
        """Returns the sequences of the raw files, and shows every stage in ``counts``."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=str(type(self).__doc__),
            features=tfds_records.features(),
            homepage=self.HOMEPAGE or None,
            disable_shuffling=True,  # record n is user n
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Any]]]:
        del dl_manager  # it cannot continue a download that was cut; `downloads` does
        config = self.builder_config
        if not isinstance(config, RawFiles):
            raise ValueError(f"{self.name} needs config=RawFiles(...); see builders.load")
        counts = Counts(self.name, self.AUTHORS)
        prepared = self.prepare(config.options, counts)
        data = prepared.data
        counts.add("kept", users=data.num_users, items=data.num_items, rows=data.num_interactions)
        counts.say(counts.verdict())
        directory = Path(self.data_dir)  # a scratch directory until all is written
        tfds_records.write_items(prepared, directory)
        (directory / "counts.json").write_text(json.dumps(counts.to_dict(), indent=1) + "\n")
        return {tfds_records.SPLIT: tfds_records.examples(data)}

    def _generate_examples(self, **kwargs: Any) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError  # _split_generators gives them

    def _log_download_bytes(self) -> None:
        """Logs nothing: the size is not known before the download."""

    def _log_download_done(self) -> None:
        """Logs nothing: `load` does."""


class Yelp(SequenceBuilder):
    """Yelp's academic reviews: stars > 3, 20-core, cuts at 80 % and 90 % of the time span."""

    HOMEPAGE = yelp.HOMEPAGE
    AUTHORS = yelp.AUTHORS
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download the JSON files from {yelp.HOMEPAGE} and put {yelp.BUSINESSES} and"
        f" {yelp.REVIEWS} in one directory (data.path)."
    )

    def prepare(self, options: DataConfig, counts: Counts) -> Prepared:
        businesses, reviews = yelp.find(options.path)
        return yelp.prepare(businesses, reviews, options.malformed_share, counts)


class _Amazon(SequenceBuilder, skip_registration=True):
    HOMEPAGE = amazon2023.HOMEPAGE

    def prepare(self, options: DataConfig, counts: Counts) -> Prepared:
        category = amazon2023.CATEGORIES[self.name]
        source = options.mirror or amazon2023.SERVER
        directory = _download_directory(options, source)
        files = {
            split: downloads.find(file, source, directory)
            for split, file in category.splits.items()
        }
        metadata = downloads.find(category.metadata, source, directory)
        return amazon2023.prepare(self.name, files, metadata, options.malformed_share, counts)


def _amazon(name: str) -> type[SequenceBuilder]:
    """Returns the builder of a category of Amazon Reviews 2023."""
    category = amazon2023.CATEGORIES[name]
    about = (
        f"Amazon Reviews 2023, {category.name}: the official 5-core time split, targets rated above"
        f" {amazon2023.RATING_ABOVE}."
    )
    members = {"name": name, "AUTHORS": category.authors, "__doc__": about}
    return type(category.name.replace("_", ""), (_Amazon,), members)


BUILDERS: dict[str, type[SequenceBuilder]] = {
    "yelp": Yelp,
    **{name: _amazon(name) for name in amazon2023.CATEGORIES},
}


def load(config: DataConfig) -> Interactions:
    """Loads the data set ``config.builder``, and prepares it first if it is not yet.

    Raises:
        UserError: files are missing, damaged or cannot be downloaded, or cannot be written.
    """
    root = cache_directory(config.tfds_dir, "tfds")
    files = _raw_files(config, root)
    chatter = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # TFDS warns of every configuration that is not its own
    try:
        builder = BUILDERS[config.builder](
            data_dir=root, config=files, file_format=tfds.core.FileFormat.ARRAY_RECORD
        )
    finally:
        logging.set_verbosity(chatter)
    _prepare(builder)
    if not builder.info.initialized:  # another process prepared since this one looked
        builder.info.read_from_directory(builder.data_dir)
    return dataclasses.replace(tfds_records.read(builder), name=config.name)


def cache_directory(chosen: str, kind: str) -> Path:
    """Returns ``chosen`` or, where it is empty, the user's cache directory for ``kind``."""
    if not chosen:
        return user_cache() / kind
    return directory_to_make(chosen, {"tfds": "data.tfds_dir"}.get(kind, "data.download_dir"))


def _prepare(builder: SequenceBuilder) -> None:
    if Path(builder.data_dir).exists():
        return
    tfds.disable_progress_bar()  # `counts` and the byte progress tell more
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except OSError as error:
        if Path(builder.data_dir).exists():  # another process was faster
            return
        raise UserError(
            f"prepared data cannot be written to {builder.data_dir} ({error}); set data.tfds_dir"
            " and data.download_dir to directories with space"
        ) from error
    Counts(builder.name).say(f"prepared in {builder.data_dir}")


def _download_directory(options: DataConfig, source: str) -> Path:
    """Returns the directory of downloads, which keeps the files of different servers apart."""
    root = cache_directory(options.download_dir, "downloads")
    server = "amazon_2023" if source == amazon2023.SERVER else _short_hash(source.rstrip("/"))
    return root / server


def _raw_files(config: DataConfig, root: Path) -> RawFiles:
    fields: dict[str, Any] = {"name": _source_key(config, root), "options": config}
    return RawFiles(**fields)


def _source_key(config: DataConfig, root: Path) -> str:
    """Returns a key that changes with local raw files, and with the server of others."""
    if config.builder == "yelp":
        prepared = sorted((root / "yelp").glob("files-*/*/dataset_info.json"))
        if not config.path and len(prepared) == 1:  # the raw files may have been deleted since
            return prepared[0].parts[-3]
        return "files-" + _short_hash(*map(_sample, yelp.find(config.path)))
    if not config.mirror:
        return "official"
    if downloads.is_url(config.mirror):
        return "mirror-" + _short_hash(config.mirror.rstrip("/"))
    category = amazon2023.CATEGORIES[config.builder]
    files = [*category.splits.values(), category.metadata]
    return "files-" + _short_hash(
        *(_sample(downloads.find(file, config.mirror, Path())) for file in files)
    )


def _sample(path: Path) -> str:
    """Returns the size and a digest of both ends of a file, which differ between releases."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read(_SAMPLE))
    return f"{size}-{digest.hexdigest()}"


def _short_hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
