//! From a path to a node. A walk never leaves the directory it began in: `..` above it, absolute paths
//! and absolute links are refused.

use std::collections::VecDeque;

use tidemill_types::GuestPath;

use super::{
    abi::Errno,
    tree::{Body, NodeId, Tree},
};

/// Links followed in one walk, as in Linux.
const MAX_LINKS: usize = 40;

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory that holds, or would hold, the last component.
    pub(crate) parent: NodeId,
    /// The last component; empty when the path leads to where it began, or ends in `..`.
    pub(crate) name: String,
    /// The node, if there is one.
    pub(crate) node: Option<NodeId>,
    /// Whether the path ends in `/`, and so must be a directory.
    pub(crate) must_be_directory: bool,
}

/// Follows `path` from the directory `base`; through a link in the last place only if `follow`. Adds the
/// components looked up to `steps`, also when the walk leads nowhere.
pub(crate) fn walk(
    tree: &Tree,
    base: NodeId,
    path: &str,
    follow: bool,
    steps: &mut u64,
) -> Result<Found, Errno> {
    if path.is_empty() {
        return Err(Errno::Noent);
    }
    if path.len() > GuestPath::MAX_BYTES {
        return Err(Errno::Nametoolong);
    }
    if path.contains('\0') {
        return Err(Errno::Ilseq);
    }
    if path.starts_with('/') {
        return Err(Errno::Perm);
    }
    tree.entries(base)?;
    let mut must_be_directory = path.ends_with('/');
    let mut todo: VecDeque<String> = components(path).collect();
    // The directories from `base` down to where the walk stands, so that `..` needs no parent pointers.
    let mut trail = vec![base];
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        *steps += 1;
        let here = *trail.last().expect("the walk's first directory is never popped");
        let last = todo.is_empty();
        match name.as_str() {
            "." => continue,
            ".." => {
                if trail.len() == 1 {
                    return Err(Errno::Perm);
                }
                trail.pop();
                continue;
            }
            _ if name.len() > GuestPath::MAX_COMPONENT_BYTES => return Err(Errno::Nametoolong),
            _ => {}
        }
        let node = match tree.lookup(here, &name) {
            Ok(node) => node,
            Err(Errno::Noent) if last => {
                return Ok(Found { parent: here, name, node: None, must_be_directory });
            }
            Err(errno) => return Err(errno),
        };
        match tree.body(node) {
            Body::Link(target) if !last || follow || must_be_directory => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::Loop);
                }
                if target.starts_with('/') {
                    return Err(Errno::Perm);
                }
                must_be_directory |= last && target.ends_with('/');
                for component in components(target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(component);
                }
            }
            _ if last => {
                return Ok(Found { parent: here, name, node: Some(node), must_be_directory });
            }
            Body::Directory { .. } => trail.push(node),
            _ => return Err(Errno::Notdir),
        }
    }
    let here = *trail.last().expect("the walk's first directory is never popped");
    Ok(Found { parent: here, name: String::new(), node: Some(here), must_be_directory: true })
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|component| !component.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use tidemill_types::Limits;

    use super::*;
    use crate::wasi::{Fault, tree::ROOT};

    /// `/d/f`, `/d/up -> ..`, `/loop -> loop`, `/abs -> /d`, `/d/far -> ../../d`.
    fn tree() -> Result<(Tree, NodeId), Fault> {
        let mut tree = Tree::new(&Limits::default(), 0);
        let directory = tree.lay_directory(ROOT, "d", 0);
        tree.create(directory, "f", Body::File(Vec::new()), 0)?;
        tree.create(directory, "up", Body::Link("..".into()), 0)?;
        tree.create(directory, "far", Body::Link("../../d".into()), 0)?;
        tree.create(ROOT, "loop", Body::Link("loop".into()), 0)?;
        tree.create(ROOT, "abs", Body::Link("/d".into()), 0)?;
        Ok((tree, directory))
    }

    #[test]
    fn paths_lead_where_they_say() {
        let (tree, directory) = tree().expect("within quota");
        let node = |path, follow| walk(&tree, ROOT, path, follow, &mut 0).map(|found| found.node);
        assert_eq!(node("d", true), Ok(Some(directory)));
        assert_eq!(node("./d//../d/.", true), Ok(Some(directory)));
        assert_eq!(node("d/up", true), Ok(Some(ROOT)));
        assert_eq!(node("d/up/d/up/d", true), Ok(Some(directory)));
        assert_eq!(node("d/new", true), Ok(None));
        assert_eq!(node("d/f/x", true), Err(Errno::Notdir));
        assert_eq!(node("e/x", true), Err(Errno::Noent));
    }

    #[test]
    fn no_walk_leaves_its_directory() {
        let (tree, directory) = tree().expect("within quota");
        let refusal = |base, path: &str| walk(&tree, base, path, true, &mut 0).err();
        for path in ["..", "d/../..", "/d", "/", "d/far", "abs", "abs/f", "d/up/.."] {
            assert_eq!(refusal(ROOT, path), Some(Errno::Perm), "{path}");
        }
        for path in ["..", "up", "up/d"] {
            assert_eq!(refusal(directory, path), Some(Errno::Perm), "{path}");
        }
        assert_eq!(refusal(ROOT, "loop"), Some(Errno::Loop));
        assert_eq!(refusal(ROOT, ""), Some(Errno::Noent));
        assert_eq!(refusal(ROOT, &"x".repeat(5000)), Some(Errno::Nametoolong));
        assert_eq!(refusal(ROOT, "a\0b"), Some(Errno::Ilseq));
    }

    #[test]
    fn a_walk_that_fails_counts_its_steps() {
        let (tree, _) = tree().expect("within quota");
        let mut steps = 0;
        assert!(walk(&tree, ROOT, "d/up/d/up/nothing/here", true, &mut steps).is_err());
        assert!(steps >= 5, "{steps}");
    }
}
