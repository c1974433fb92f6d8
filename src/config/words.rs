//! The settings that are one word of a fixed list.
//!
//! Rule: a word that is not in the list is an error with the list, never a default.

use super::setting::choices;

choices! {
    /// What a record in the journal survives.
    pub(crate) enum JournalMode {
        /// A crash of the process.
        Standard = "standard",
        /// A loss of power, too.
        Strict = "strict",
    }

    /// How a backend is chosen among those of a route.
    pub(crate) enum Strategy {
        /// In the order of the file.
        Priority = "priority",
        /// The cheapest first.
        LowestCost = "lowest_cost",
        /// The fastest first.
        LowestLatency = "lowest_latency",
        /// Each in turn.
        RoundRobin = "round_robin",
        /// By weight.
        Weighted = "weighted",
    }

    /// What happens to parameters that a backend of another dialect has no word for.
    pub(crate) enum Params {
        /// They are left out and named in the answer.
        Drop = "drop",
        /// The request is refused.
        Strict = "strict",
    }

    /// The version of HTTP that a provider is spoken to.
    pub(crate) enum HttpVersion {
        /// HTTP/2 where the server offers it in its TLS handshake, HTTP/1.1 elsewhere.
        Auto = "auto",
        /// HTTP/1.1.
        One = "http1",
        /// HTTP/2, also without TLS.
        Two = "http2",
    }

    /// A role of a user.
    pub(crate) enum Role {
        /// May do everything.
        InstanceAdmin = "instance_admin",
        /// Sees and sets money.
        FinancialAdmin = "financial_admin",
        /// Sets providers, models and routes.
        ModelAdmin = "model_admin",
        /// Manages the teams the user is in.
        TeamManager = "team_manager",
        /// Uses models.
        Member = "member",
    }

    /// When a budget starts anew.
    pub(crate) enum Period {
        /// Every day.
        Daily = "daily",
        /// Every week, on the day that `week_start` names.
        Weekly = "weekly",
        /// On the first of every month.
        Monthly = "monthly",
    }

    /// A day of the week.
    pub(crate) enum WeekStart {
        /// As ISO 8601 counts.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }

    /// What happens at the limit of a budget.
    pub(crate) enum BudgetMode {
        /// Requests that would exceed it are refused.
        Hard = "hard",
        /// Requests go on with a warning.
        Soft = "soft",
    }

    /// The least severe level that is logged.
    pub(crate) enum LogLevel {
        /// Everything.
        Trace = "trace",
        /// Also each request.
        Debug = "debug",
        /// Changes of state.
        Info = "info",
        /// What is degraded.
        Warn = "warn",
        /// What needs someone to act.
        Error = "error",
    }

    /// How a log line looks.
    pub(crate) enum LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// Text.
        Text = "text",
        /// JSON.
        Json = "json",
    }

    /// What is kept of requests and answers.
    pub(crate) enum BodyMode {
        /// Nothing.
        Off = "off",
        /// Text with what was found in it removed.
        Redacted = "redacted",
        /// Everything.
        Full = "full",
    }
}
