//! What the map has one task for each of, once the inputs are known.

use std::{borrow::Cow, path::Path};

use tidemill_types::{GuestPath, is_steering};

use crate::{
    Matrix, RangeTasks,
    template::{Placeholder, Scope},
};

/// The longest label, in characters: room for the paths that people have.
const MAX_LABEL_CHARS: usize = 160;

/// How much of a longer label stays at its beginning; the rest stays at its end, where a path has the file's name.
const LABEL_START_CHARS: usize = 60;

/// `C` is what holds the bytes of a file that is one input, `P` what holds those of a file's pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source<C, P> {
    One,
    Range(RangeTasks),
    Matrix(Matrix),
    Files(Vec<InputFile<C>>),
    Pieces(Vec<CutFile<P>>),
}

/// A file that is one task's input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InputFile<C> {
    /// Where the file is, seen from the job file. The task finds it under its name alone.
    pub(crate) path: GuestPath,
    pub(crate) content: C,
}

/// A file of which each piece is one task's input; it has at least one piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CutFile<P> {
    /// Where the file is, seen from the job file.
    pub(crate) path: GuestPath,
    /// Where a task finds its piece.
    pub(crate) part: GuestPath,
    pub(crate) pieces: P,
    /// The index of the task that has the first piece.
    pub(crate) first: u64,
}

/// The pieces of a file.
pub(crate) trait Cuts {
    /// What holds the bytes of a piece.
    type Piece;

    fn count(&self) -> usize;
    /// The piece at a place below [`Self::count`].
    fn piece(&self, index: usize) -> Self::Piece;
}

/// What one task is for.
#[derive(Debug)]
pub(crate) enum Item<'s, C, P> {
    One,
    Value(i64),
    Combination(&'s Matrix, Vec<&'s str>),
    File(&'s InputFile<C>),
    Piece(&'s CutFile<P>, usize),
}

impl<C: Clone, P: Cuts> Source<C, P> {
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::One => 1,
            Self::Range(range) => range.count(),
            Self::Matrix(matrix) => matrix.count(),
            Self::Files(files) => files.len() as u64,
            Self::Pieces(files) => files.last().map_or(0, |file| file.first + file.pieces.count() as u64),
        }
    }

    /// What the task at a place below [`Self::count`] is for.
    pub(crate) fn item(&self, index: u64) -> Item<'_, C, P> {
        let place = |index: u64| usize::try_from(index).expect("a place in memory is a usize");
        match self {
            Self::One => Item::One,
            Self::Range(range) => Item::Value(range.value(index)),
            Self::Matrix(matrix) => Item::Combination(matrix, matrix.combination(index)),
            Self::Files(files) => Item::File(&files[place(index)]),
            Self::Pieces(files) => {
                let after = files.partition_point(|file| file.first <= index);
                let file = &files[after - 1];
                Item::Piece(file, place(index - file.first))
            }
        }
    }

    /// The file that is the input of the task at a place below [`Self::count`], whole and alone.
    pub(crate) fn file(&self, index: u64) -> Option<&GuestPath> {
        match self {
            Self::Files(files) => files.get(usize::try_from(index).ok()?).map(|file| &file.path),
            Self::One | Self::Range(_) | Self::Matrix(_) | Self::Pieces(_) => None,
        }
    }

    /// The placeholders of a task.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::One => Scope::one(),
            Self::Range(_) => Scope::range(),
            Self::Matrix(matrix) => Scope::matrix(matrix),
            Self::Files(_) | Self::Pieces(_) => Scope::input(),
        }
    }

    /// The length of the longest text that each placeholder stands for in any of the tasks.
    pub(crate) fn longest(&self) -> impl Fn(Placeholder) -> u64 + use<C, P> {
        /// The digits of a 64-bit number with its sign.
        const NUMBER: u64 = 20;
        let name = longest_of(self.paths().map(GuestPath::name));
        let directory = longest_of(self.paths().map(directory_of));
        let input = "/in/".len() as u64 + longest_of(self.input_names());
        let parameters: Vec<u64> = match self {
            Self::Matrix(matrix) => {
                let longest = |values: &[String]| values.iter().map(String::len).max().unwrap_or(0) as u64;
                matrix.parameters.iter().map(|parameter| longest(&parameter.values)).collect()
            }
            _ => Vec::new(),
        };
        move |placeholder| match placeholder {
            Placeholder::Index | Placeholder::Count | Placeholder::Value => NUMBER,
            Placeholder::Input => input,
            Placeholder::InputName | Placeholder::InputStem => name,
            Placeholder::InputDir => directory,
            Placeholder::Parameter(i) => parameters.get(i).copied().unwrap_or(0),
            // The map has none of these, and the longest, `/in/parts`, is no longer than a number.
            Placeholder::Parts | Placeholder::Level | Placeholder::Last => NUMBER,
        }
    }

    /// Where the files are, seen from the job file.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &GuestPath> {
        let (files, cut): (&[_], &[_]) = match self {
            Self::Files(files) => (files, &[]),
            Self::Pieces(files) => (&[], files),
            _ => (&[], &[]),
        };
        files.iter().map(|file| &file.path).chain(cut.iter().map(|file| &file.path))
    }

    /// The names under which tasks find their own inputs.
    pub(crate) fn input_names(&self) -> impl Iterator<Item = &str> {
        let (files, cut): (&[_], &[_]) = match self {
            Self::Files(files) => (files, &[]),
            Self::Pieces(files) => (&[], files),
            _ => (&[], &[]),
        };
        files.iter().map(|file| file.path.name()).chain(cut.iter().map(|file| file.part.as_str()))
    }
}

impl<C: Clone, P: Cuts> Item<'_, C, P> {
    /// What a placeholder of this source stands for.
    pub(crate) fn value(&self, placeholder: Placeholder) -> Cow<'_, str> {
        match (self, placeholder) {
            (Self::Value(value), Placeholder::Value) => Cow::Owned(value.to_string()),
            (Self::Combination(_, values), Placeholder::Parameter(i)) => {
                Cow::Borrowed(values.get(i).copied().unwrap_or_default())
            }
            (Self::File(file), _) => of_file(placeholder, file.path.name(), &file.path),
            (Self::Piece(file, _), _) => of_file(placeholder, file.part.as_str(), &file.path),
            // Whoever made the templates allows no placeholder that the source does not have.
            _ => Cow::Borrowed(""),
        }
    }

    /// The task's own input.
    pub(crate) fn input(&self) -> Option<(GuestPath, P::Piece)>
    where
        P::Piece: From<C>,
    {
        match self {
            Self::One | Self::Value(_) | Self::Combination(..) => None,
            Self::File(file) => {
                let name = GuestPath::new(file.path.name()).expect("a component of a path is a path");
                Some((name, file.content.clone().into()))
            }
            Self::Piece(file, piece) => Some((file.part.clone(), file.pieces.piece(*piece))),
        }
    }

    pub(crate) fn label(&self) -> String {
        let label = match self {
            Self::One => "task".to_owned(),
            Self::Value(value) => format!("value {value}"),
            Self::Combination(matrix, values) => {
                let named =
                    matrix.parameters.iter().zip(values).map(|(p, value)| format!("{}={value}", p.name));
                named.collect::<Vec<_>>().join(" ")
            }
            Self::File(file) => file.path.to_string(),
            Self::Piece(file, piece) => format!("part {} of {}", piece + 1, file.path),
        };
        // A label goes to terminals, and the texts of a matrix hold anything.
        let label: Vec<char> = label.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect();
        if label.len() <= MAX_LABEL_CHARS {
            return label.into_iter().collect();
        }
        let (start, end) = (&label[..LABEL_START_CHARS], MAX_LABEL_CHARS - LABEL_START_CHARS);
        start.iter().chain(&['…']).chain(&label[label.len() - end..]).collect()
    }
}

fn longest_of<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    texts.map(str::len).max().unwrap_or(0) as u64
}

fn of_file<'a>(placeholder: Placeholder, input: &str, path: &'a GuestPath) -> Cow<'a, str> {
    match placeholder {
        Placeholder::Input => Cow::Owned(format!("/in/{input}")),
        Placeholder::InputName => Cow::Borrowed(path.name()),
        Placeholder::InputDir => Cow::Borrowed(directory_of(path)),
        Placeholder::InputStem => {
            let stem = Path::new(path.name()).file_stem().and_then(|stem| stem.to_str());
            Cow::Borrowed(stem.unwrap_or(path.name()))
        }
        _ => Cow::Borrowed(""),
    }
}

/// What `{input.dir}` stands for: a point for a file beside the job file, so that a path is made of it in any case.
fn directory_of(path: &GuestPath) -> &str {
    path.directory().unwrap_or(".")
}

/// What the names of files that are unpacked before they are cut end with.
const PACKED: &[&str] = &[".gz", ".zst"];

/// Where a task finds its piece of a file: programs often go by the extension. Pieces are of what a compressed file
/// holds, so its own extension is not theirs.
pub(crate) fn part_name(file: &GuestPath) -> GuestPath {
    let plain = |ext: &&str| ext.len() <= 16 && ext.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = file.name();
    let name = PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let name = match Path::new(name).extension().and_then(|ext| ext.to_str()).filter(plain) {
        Some(ext) => format!("part.{ext}"),
        None => "part".to_owned(),
    };
    GuestPath::new(name).expect("a plain name is a path")
}
