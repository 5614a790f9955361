//! Where control flow of some invocations alone leaves a block.

use naga::{Block, Statement};

/// The ways out of a block that only some of the invocations that came in may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Exits {
    /// To the end of the loop or switch around it.
    pub(super) breaks: bool,
    /// To the next round of the loop around it.
    pub(super) continues: bool,
    /// Out of the function.
    pub(super) returns: bool,
}

impl Exits {
    pub(super) fn any(self) -> bool {
        self.breaks || self.continues || self.returns
    }

    fn and(self, other: Self) -> Self {
        Self {
            breaks: self.breaks || other.breaks,
            continues: self.continues || other.continues,
            returns: self.returns || other.returns,
        }
    }
}

/// The exits of a block that is entered together, or not, where `uniform` says whether a condition is.
pub(super) fn of_block(
    block: &Block,
    together: bool,
    uniform: &dyn Fn(naga::Handle<naga::Expression>) -> bool,
) -> Exits {
    let (mut exits, mut together) = (Exits::default(), together);
    for statement in block {
        let inner = match statement {
            Statement::Block(block) => of_block(block, together, uniform),
            Statement::If { condition, accept, reject } => {
                let together = together && uniform(*condition);
                of_block(accept, together, uniform).and(of_block(reject, together, uniform))
            }
            Statement::Switch { selector, cases } => {
                let together = together && uniform(*selector);
                let of_cases = cases.iter().map(|case| of_block(&case.body, together, uniform));
                of_switch(of_cases.fold(Exits::default(), Exits::and))
            }
            Statement::Loop { body, continuing, break_if } => {
                let (_, exits) = of_loop(body, continuing, *break_if, together, uniform);
                Exits { breaks: false, continues: false, ..exits }
            }
            Statement::Break => Exits { breaks: !together, ..Exits::default() },
            Statement::Continue => Exits { continues: !together, ..Exits::default() },
            Statement::Return { .. } => Exits { returns: !together, ..Exits::default() },
            _ => Exits::default(),
        };
        exits = exits.and(inner);
        together &= !inner.any();
    }
    exits
}

/// A `break` ends the switch, after which those who took it are back.
pub(super) fn of_switch(cases: Exits) -> Exits {
    Exits { breaks: false, ..cases }
}

/// Whether all invocations run a loop's rounds together, and its exits.
pub(super) fn of_loop(
    body: &Block,
    continuing: &Block,
    break_if: Option<naga::Handle<naga::Expression>>,
    together: bool,
    uniform: &dyn Fn(naga::Handle<naga::Expression>) -> bool,
) -> (bool, Exits) {
    let exits = |together| {
        let of_body = of_block(body, together, uniform);
        of_body.and(of_block(continuing, together && !of_body.any(), uniform))
    };
    let of_all = exits(together);
    let stays = together && !of_all.any() && break_if.is_none_or(uniform);
    // Whoever is in another round than others is alone in all of it. Asked of what is entered apart, this takes one walk.
    (stays, if stays || !together { of_all } else { exits(false) })
}
