//! What a run is asked to do: options, conditions, and the plan that is checked against every limit.

pub(crate) mod condition;
pub(crate) mod destination;
pub(crate) mod error;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod target;
pub(crate) mod values;
