//! x
use crate::{mistake::Refusal, rebuild::Builder};
use naga::*;
pub(crate) struct Canonical;
impl Canonical {
    pub(crate) fn put(_: &mut Module, _: Handle<GlobalVariable>) -> Self {
        Self
    }
    pub(crate) fn rewrite(
        &self,
        _: &Module,
        _: &mut Builder<'_>,
        _: Handle<Expression>,
    ) -> Result<Option<Handle<Expression>>, Refusal> {
        Err(Refusal::Canonical("x".into()))
    }
}
