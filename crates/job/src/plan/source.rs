//! What the map has one task for each of, once the files are known.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use tidemill_types::{Content, GuestPath, Segment};

use crate::{Matrix, Pieces, RangeTasks, template::Placeholder};

/// The longest label, in characters.
const MAX_LABEL_CHARS: usize = 80;

#[derive(Clone, Debug)]
pub(super) enum Source {
    One,
    Range(RangeTasks),
    Matrix(Matrix),
    Files(Vec<InputFile>),
    Pieces(Vec<CutFile>),
}

/// A file that is one task's input.
#[derive(Clone, Debug)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    /// The file's name, under which the task finds it.
    pub(super) name: GuestPath,
    pub(super) len: u64,
}

/// A file of which each piece is one task's input; it has at least one piece.
#[derive(Clone, Debug)]
pub(super) struct CutFile {
    pub(super) path: PathBuf,
    /// The file's name.
    pub(super) name: GuestPath,
    /// Where a task finds its piece.
    pub(super) part: GuestPath,
    pub(super) pieces: Pieces,
    /// The index of the task that has the first piece.
    pub(super) first: u64,
}

/// What one task is for.
#[derive(Debug)]
pub(super) enum Item<'p> {
    One,
    Value(i64),
    Combination(&'p Matrix, Vec<&'p str>),
    File(&'p InputFile),
    Piece(&'p CutFile, usize),
}

impl Source {
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::One => 1,
            Self::Range(range) => range.count(),
            Self::Matrix(matrix) => matrix.count(),
            Self::Files(files) => files.len() as u64,
            Self::Pieces(files) => files.last().map_or(0, |file| file.first + file.pieces.len() as u64),
        }
    }

    pub(super) fn total_bytes(&self) -> u64 {
        match self {
            Self::One | Self::Range(_) | Self::Matrix(_) => 0,
            // Sparse files can be longer together than a number is wide.
            Self::Files(files) => files.iter().fold(0, |sum, file| sum.saturating_add(file.len)),
            Self::Pieces(files) => {
                files.iter().fold(0, |sum, file| sum.saturating_add(file.pieces.total_bytes()))
            }
        }
    }

    /// What the task at a place below [`Self::count`] is for.
    pub(super) fn item(&self, index: u64) -> Item<'_> {
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
}

impl Item<'_> {
    /// What a placeholder of this source stands for.
    pub(super) fn value(&self, placeholder: Placeholder) -> Cow<'_, str> {
        match (self, placeholder) {
            (Self::Value(value), Placeholder::Value) => Cow::Owned(value.to_string()),
            (Self::Combination(_, values), Placeholder::Parameter(i)) => {
                Cow::Borrowed(values.get(i).copied().unwrap_or_default())
            }
            (Self::File(file), _) => of_file(placeholder, &file.name, &file.name),
            (Self::Piece(file, _), _) => of_file(placeholder, &file.part, &file.name),
            // The parser allows no placeholder that the source does not have.
            _ => Cow::Borrowed(""),
        }
    }

    /// The task's own input.
    pub(super) fn input(&self) -> Option<(GuestPath, Content)> {
        match self {
            Self::One | Self::Value(_) | Self::Combination(..) => None,
            Self::File(file) => Some((file.name.clone(), Content::file(&file.path, file.len))),
            Self::Piece(file, piece) => {
                let segment = |range: &crate::ByteRange| Segment::File {
                    path: file.path.clone(),
                    offset: range.offset,
                    len: range.len,
                };
                let segments = file.pieces.get(*piece).iter().map(segment).collect();
                Some((file.part.clone(), Content { segments }))
            }
        }
    }

    pub(super) fn label(&self) -> String {
        let label = match self {
            Self::One => "task".to_owned(),
            Self::Value(value) => format!("value {value}"),
            Self::Combination(matrix, values) => {
                let named =
                    matrix.parameters.iter().zip(values).map(|(p, value)| format!("{}={value}", p.name));
                named.collect::<Vec<_>>().join(" ")
            }
            Self::File(file) => file.name.to_string(),
            Self::Piece(file, piece) => format!("part {} of {}", piece + 1, file.name),
        };
        // A label goes to terminals, and the texts of a matrix hold anything.
        let mut label: String = label.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if let Some((end, _)) = label.char_indices().nth(MAX_LABEL_CHARS) {
            label.truncate(end);
            label.push('…');
        }
        label
    }
}

fn of_file<'a>(placeholder: Placeholder, input: &GuestPath, name: &'a GuestPath) -> Cow<'a, str> {
    match placeholder {
        Placeholder::Input => Cow::Owned(format!("/in/{input}")),
        Placeholder::InputName => Cow::Borrowed(name.as_str()),
        Placeholder::InputStem => {
            let stem = Path::new(name.as_str()).file_stem().and_then(|stem| stem.to_str());
            Cow::Borrowed(stem.unwrap_or(name.as_str()))
        }
        _ => Cow::Borrowed(""),
    }
}
