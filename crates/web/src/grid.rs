//! The tasks of a job as cells: one for each task while there are few, one for several of them beyond.

use tidemill_net::wire::{TaskPhase, TaskReport};

use crate::words::count;

/// Cells where each stands for one task, and the most that a job of a usual size has.
const FEW: u64 = 640;

/// Tasks up to which [`FEW`] cells are enough.
const USUAL: u64 = 65_536;

/// Cells of a job that is longer.
const MANY: u64 = 1024;

/// Columns, which are fixed so that a row has a meaning.
pub const COLUMNS: usize = 64;

/// How the tasks of a job stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grid {
    tasks: u64,
    per_cell: u64,
    cells: Vec<Cell>,
}

/// Some neighbouring tasks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Cell {
    tasks: u64,
    done: u64,
    leased: u64,
    /// Whether an attempt at a task that is not done came to nothing.
    is_troubled: bool,
}

impl Grid {
    /// The cells of so many tasks, none of which is begun.
    pub fn new(tasks: u64) -> Self {
        let per_cell = match tasks {
            0..=FEW => 1,
            _ if tasks <= USUAL => tasks.div_ceil(FEW),
            _ => tasks.div_ceil(MANY),
        };
        let cells = (0..tasks.div_ceil(per_cell))
            .map(|cell| Cell { tasks: per_cell.min(tasks - cell * per_cell), ..Cell::default() })
            .collect();
        Self { tasks, per_cell, cells }
    }

    /// The cells of so many tasks that are all done.
    pub fn done(tasks: u64) -> Self {
        let mut grid = Self::new(tasks);
        grid.cells.iter_mut().for_each(|cell| cell.done = cell.tasks);
        grid
    }

    /// Counts a task.
    pub fn add(&mut self, task: &TaskReport) {
        let at = usize::try_from(task.task.0 / self.per_cell).unwrap_or(usize::MAX);
        let Some(cell) = self.cells.get_mut(at) else { return };
        match task.phase {
            TaskPhase::Waiting => {}
            TaskPhase::Leased(_) => cell.leased += 1,
            TaskPhase::Done { .. } => cell.done += 1,
        }
        cell.is_troubled |= !task.attempts.is_empty() && !matches!(task.phase, TaskPhase::Done { .. });
    }

    /// Tasks that a cell stands for.
    pub fn per_cell(&self) -> u64 {
        self.per_cell
    }

    /// The classes of the cells, in the order of tasks.
    pub fn classes(&self) -> Vec<String> {
        self.cells.iter().map(Cell::class).collect()
    }

    /// The first task of each row.
    pub fn rows(&self) -> impl Iterator<Item = u64> {
        let cells_in_row = COLUMNS as u64;
        let rows = (self.cells.len() as u64).div_ceil(cells_in_row);
        (0..rows).map(move |row| row * cells_in_row * self.per_cell)
    }

    /// What it shows, in a sentence.
    pub fn label(&self) -> String {
        let sum = |part: fn(&Cell) -> u64| self.cells.iter().map(part).sum::<u64>();
        let (done, leased) = (sum(|cell| cell.done), sum(|cell| cell.leased));
        let ready = self.tasks.saturating_sub(done).saturating_sub(leased);
        let troubled = self.cells.iter().filter(|cell| cell.is_troubled).count() as u64;
        let trouble = match troubled {
            0 => String::new(),
            cells => format!("; attempts came to nothing in {} of the cells", count(cells)),
        };
        format!(
            "{} tasks in {} cells: {} accepted, {} running, {} ready{trouble}",
            count(self.tasks),
            count(self.cells.len() as u64),
            count(done),
            count(leased),
            count(ready)
        )
    }
}

impl Cell {
    /// Eighths that are accepted (`a`) and running (`r`), and whether there is trouble (`x`). Nothing that is there is
    /// rounded away, and only what is whole is shown as whole.
    fn class(&self) -> String {
        let tasks = self.tasks.max(1);
        let part = |of: u64| match of {
            0 => 0,
            of if of >= tasks => 8,
            of => (of * 8 / tasks).clamp(1, 7),
        };
        let accepted = part(self.done);
        let running = part(self.leased).min(8 - accepted);
        let mut class = String::new();
        let mut push = |letter: char, eighths: u64| {
            if eighths > 0 {
                if !class.is_empty() {
                    class.push(' ');
                }
                class.push(letter);
                class += &eighths.to_string();
            }
        };
        push('a', accepted);
        push('r', running);
        if self.is_troubled {
            class += if class.is_empty() { "x" } else { " x" };
        }
        class
    }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::Attempt;
    use tidemill_types::{Failure, NodeId, TaskNumber};

    use super::*;

    fn task(number: u64, phase: TaskPhase) -> TaskReport {
        TaskReport { task: TaskNumber(number), label: String::new(), file: None, phase, attempts: Vec::new() }
    }

    #[test]
    fn a_cell_stands_for_more_tasks_where_there_are_more() {
        let of = |tasks| (Grid::new(tasks).cells.len(), Grid::new(tasks).per_cell);
        assert_eq!(of(0), (0, 1));
        assert_eq!(of(640), (640, 1));
        assert_eq!(of(641), (321, 2));
        assert_eq!(of(20_480), (640, 32));
        assert_eq!(of(65_536), (637, 103));
        assert_eq!(of(100_000), (1021, 98));
        let last = *Grid::new(641).cells.last().expect("there are some");
        assert_eq!(last.tasks, 1, "the last cell has what is left");
    }

    #[test]
    fn nothing_is_rounded_away_and_only_the_whole_is_whole() {
        let cell = |done, leased| Cell { tasks: 100, done, leased, is_troubled: false }.class();
        assert_eq!(cell(0, 0), "");
        assert_eq!(cell(1, 0), "a1");
        assert_eq!(cell(99, 0), "a7");
        assert_eq!(cell(99, 1), "a7 r1");
        assert_eq!(cell(100, 0), "a8");
        assert_eq!(cell(0, 100), "r8");
        assert_eq!(cell(50, 50), "a4 r4");
    }

    #[test]
    fn tasks_are_counted_where_they_are() {
        let mut grid = Grid::new(1280);
        grid.add(&task(0, TaskPhase::Leased(vec![NodeId([1; 32])])));
        let attempt = Attempt { node: NodeId([1; 32]), at_ms: 0, failure: Some(Failure::Cancelled) };
        grid.add(&TaskReport { attempts: vec![attempt], ..task(3, TaskPhase::Waiting) });
        grid.add(&task(5000, TaskPhase::Waiting));
        let classes = grid.classes();
        assert_eq!((classes[0].as_str(), classes[1].as_str(), classes[2].as_str()), ("r4", "x", ""));
        assert_eq!(
            grid.label(),
            "1,280 tasks in 640 cells: 0 accepted, 1 running, 1,279 ready; attempts came to nothing in 1 of the cells"
        );
        assert_eq!(grid.rows().nth(1), Some(128));
        assert!(Grid::done(7).classes().iter().all(|class| class == "a8"));
    }
}
