//! Which files a task leaves behind: those below `/out`, links followed.

use tidemill_types::{Failure, GuestPath, MAX_INDEX_BYTES};

use super::{
    abi::Errno,
    tree::{Body, NodeId, Tree},
    walk::walk,
};

/// How many steps of a walk all links of an output may take: a program that piles links on links is not worth more.
const MOST_STEPS: u64 = 1_000_000;

/// What a path's length and a file's length take in an archive's index, as postcard writes them at most.
const ENTRY_BYTES: usize = 13;

/// Lists the regular files below `/out`, and what symbolic links there lead to, if that is below `/out` too. A file that
/// several names lead to is listed under each.
///
/// # Errors
/// [`Failure::BadOutput`] where something in `/out` has no place in an archive.
pub(super) fn collect(tree: &Tree, out: NodeId) -> Result<Vec<(GuestPath, NodeId)>, Failure> {
    let mut collecting =
        Collecting { tree, out, above: Vec::new(), files: Vec::new(), index_bytes: 0, steps: 0 };
    collecting.directory(out, "", false).map_err(|reason| Failure::BadOutput { reason })?;
    Ok(collecting.files)
}

struct Collecting<'a> {
    tree: &'a Tree,
    out: NodeId,
    /// The directories from `/out` down to the one that is listed.
    above: Vec<NodeId>,
    files: Vec<(GuestPath, NodeId)>,
    /// Bounded while it is gathered: long paths of many files are more than names.
    index_bytes: usize,
    /// Of walks along links.
    steps: u64,
}

impl Collecting<'_> {
    /// Recursion is bounded by the length of a path.
    fn directory(&mut self, directory: NodeId, prefix: &str, by_link: bool) -> Result<(), String> {
        let entries = self.tree.entries(directory).map_err(|_| "`/out` is no directory".to_owned())?;
        self.above.push(directory);
        for (name, node) in entries {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if path.len() > GuestPath::MAX_BYTES {
                return Err(format!("a path in `/out` is longer than {} bytes", GuestPath::MAX_BYTES));
            }
            let (node, by_link) = match self.tree.body(*node) {
                Body::Link(_) => {
                    let target = self.follow(&path);
                    (target.map_err(|why| format!("the symbolic link `/out/{path}` {why}"))?, true)
                }
                _ => (*node, by_link),
            };
            match self.tree.body(node) {
                Body::Directory { .. } if self.above.contains(&node) => {
                    return Err(format!(
                        "the symbolic link `/out/{path}` leads to a directory that it is in"
                    ));
                }
                Body::Directory { .. } => {
                    // Without links, the quota of names bounds how many directories there are.
                    if by_link {
                        self.count(&path)?;
                    }
                    self.directory(node, &path, by_link)?;
                }
                Body::File(_) => {
                    self.count(&path)?;
                    let path = GuestPath::new(path).map_err(|error| error.to_string())?;
                    self.files.push((path, node));
                }
                Body::Link(_) | Body::Input { .. } => return Err(format!("`/out/{path}` is an input")),
            }
        }
        self.above.pop();
        Ok(())
    }

    /// What the link at a path below `/out` leads to.
    fn follow(&mut self, path: &str) -> Result<NodeId, String> {
        let found = walk(self.tree, self.out, path, true, &mut self.steps);
        if self.steps > MOST_STEPS {
            return Err(format!(
                "leads on too far: all links of `/out` together may take {MOST_STEPS} steps"
            ));
        }
        match found.map(|found| found.node) {
            Ok(Some(node)) => Ok(node),
            Ok(None) | Err(Errno::Noent | Errno::Notdir) => Err("leads to nothing".to_owned()),
            Err(Errno::Perm) => Err("leads out of `/out`".to_owned()),
            Err(Errno::Loop) => Err("leads back to itself".to_owned()),
            Err(error) => Err(format!("cannot be followed: {error:?}")),
        }
    }

    fn count(&mut self, path: &str) -> Result<(), String> {
        self.index_bytes += path.len() + ENTRY_BYTES;
        if self.index_bytes > MAX_INDEX_BYTES {
            return Err(format!("the paths in `/out` are longer than {MAX_INDEX_BYTES} bytes together"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::Limits;

    use super::*;
    use crate::wasi::tree::ROOT;

    /// The path of an entry, and what is there: a directory, a link and its target, or a file and its bytes.
    type Entry<'a> = (&'a str, Option<Result<&'a str, &'a [u8]>>);

    /// A tree with `/out`, whose entries are directories (`None`), links (`Ok`) and files (`Err`).
    fn tree(entries: &[Entry<'_>]) -> (Tree, NodeId) {
        let mut tree = Tree::new(&Limits::default(), 0);
        let out = tree.lay_directory(ROOT, "out", 0);
        for (path, what) in entries {
            let (parent, name) = match path.rsplit_once('/') {
                Some((parent, name)) => {
                    let found = walk(&tree, out, parent, true, &mut 0).expect("a directory");
                    (found.node.expect("a directory"), name)
                }
                None => (out, *path),
            };
            let body = match what {
                None => Body::directory(),
                Some(Ok(target)) => Body::Link((*target).into()),
                Some(Err(bytes)) => Body::File(bytes.to_vec()),
            };
            tree.create(parent, name, body, 0).expect("within quota");
        }
        (tree, out)
    }

    fn collected(entries: &[Entry<'_>]) -> Result<Vec<(String, u64)>, String> {
        let (tree, out) = tree(entries);
        match collect(&tree, out) {
            Ok(files) => Ok(files.iter().map(|(path, node)| (path.to_string(), tree.size(*node))).collect()),
            Err(Failure::BadOutput { reason }) => Err(reason),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_link_becomes_what_it_leads_to() {
        let found = collected(&[
            ("d", None),
            ("d/one", Some(Err(b"1"))),
            ("two", Some(Err(b"22"))),
            ("d/two", Some(Ok("../two"))),
            ("one", Some(Ok("d/one"))),
            ("over", Some(Ok("one"))),
            ("again", Some(Ok("d"))),
        ]);
        let expected = [
            ("again/one", 1),
            ("again/two", 2),
            ("d/one", 1),
            ("d/two", 2),
            ("one", 1),
            ("over", 1),
            ("two", 2),
        ];
        assert_eq!(found, Ok(expected.map(|(path, size)| (path.to_owned(), size)).to_vec()));
    }

    #[test]
    fn a_link_that_leads_nowhere_of_use_is_named() {
        let cases = [
            ("missing", "the symbolic link `/out/l` leads to nothing"),
            ("../in/x", "the symbolic link `/out/l` leads out of `/out`"),
            ("/in/x", "the symbolic link `/out/l` leads out of `/out`"),
            ("l", "the symbolic link `/out/l` leads back to itself"),
            (".", "the symbolic link `/out/l` leads to a directory that it is in"),
            ("f/x", "the symbolic link `/out/l` leads to nothing"),
        ];
        for (target, expected) in cases {
            let found = collected(&[("f", Some(Err(b"x"))), ("l", Some(Ok(target)))]);
            assert_eq!(found, Err(expected.to_owned()), "{target}");
        }
    }

    #[test]
    fn links_that_lead_on_too_far_end() {
        // Each of these goes up and down a hundred times.
        let far = "d/../".repeat(100) + "f";
        let names: Vec<String> = (0..6_000).map(|number| format!("l{number}")).collect();
        let mut entries: Vec<Entry<'_>> = vec![("d", None), ("f", Some(Err(b"x")))];
        entries.extend(names.iter().map(|name| (name.as_str(), Some(Ok(far.as_str())))));
        let reason = collected(&entries).expect_err("too many steps");
        assert!(reason.contains("leads on too far"), "{reason}");
    }

    #[test]
    fn links_that_multiply_directories_end() {
        // Each directory has two ways into the next, so there are 2^40 ways to the last.
        let names: Vec<String> = (0..40).map(|number| format!("d{number}")).collect();
        let mut entries: Vec<(String, Option<String>)> =
            names.iter().map(|name| (name.clone(), None)).collect();
        for pair in names.windows(2) {
            for link in ["a", "b"] {
                entries.push((format!("{}/{link}", pair[0]), Some(format!("../{}", pair[1]))));
            }
        }
        let entries: Vec<Entry<'_>> =
            entries.iter().map(|(path, target)| (path.as_str(), target.as_deref().map(Ok))).collect();
        let reason = collected(&entries).expect_err("too many ways");
        assert!(reason.contains("longer than") || reason.contains("leads on too far"), "{reason}");
    }
}
