//! The scenarios: one file for each, with its options and its workload. A new scenario is a new file and a line in
//! [`scenarios!`], beside its `mod`.

pub(crate) mod args;
mod chat;
mod churn;
mod custom;
mod echo;
mod fanout;
mod flights;
mod idle;
mod sequence;
mod slow;
mod slow_readers;
mod storm;
#[cfg(test)]
pub(crate) mod tests;
mod think;

use clap::Subcommand;

use self::args::ScenarioArgs;

/// Declares the subcommands that run a scenario, each by its name and its options.
macro_rules! scenarios {
    ($($name:ident($args:ty),)*) => {
        /// A scenario with its options.
        #[derive(Debug, Clone, Subcommand)]
        pub(crate) enum Scenario { $($name($args),)* }

        impl Scenario {
            /// The options of the scenario.
            pub(crate) fn args(&self) -> &dyn ScenarioArgs {
                match self { $(Self::$name(args) => args,)* }
            }

            /// The options of the scenario, to change them.
            pub(crate) fn args_mut(&mut self) -> &mut dyn ScenarioArgs {
                match self { $(Self::$name(args) => args,)* }
            }
        }
    };
}

scenarios! {
    Echo(echo::EchoArgs),
    Fanout(fanout::FanoutArgs),
    Chat(chat::ChatArgs),
    Idle(idle::IdleArgs),
    Churn(churn::ChurnArgs),
    Slow(slow::SlowArgs),
    Storm(storm::StormArgs),
    Custom(custom::CustomArgs),
}
