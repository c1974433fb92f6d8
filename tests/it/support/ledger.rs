//! Everything a control plane has written down about money, read anew from its database and checked against itself and
//! against the provider's own bill.
//!
//! Rule: the sums are made here, from single records; nothing that the gateway summed is taken for granted. It changes
//! nothing.

use helix_fake_provider::Entry;
use helix_shared::budget::AccountKey;
use helix_shared::budget::plane::Seal;
use helix_shared::ids::{BudgetId, Incarnation, NodeId};
use helix_shared::record::Record;
use helix_shared::usage::CostBasis;
use helix_store::{Account, Budget, Db, IncarnationRow, Lease};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// More records than any test makes.
const ALL: u32 = 1_000_000;

/// What stands in the database.
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) incarnations: Vec<IncarnationRow>,
}

/// Where a gateway in a folder keeps its books when its file says nothing else.
pub(crate) fn sqlite_in(folder: &Path) -> String {
    format!("sqlite://{}/helix-data/helix.db", folder.display())
}

impl Ledger {
    /// Reads the books of a database, beside a running gateway or after its end.
    pub(crate) async fn read(url: &str) -> Self {
        let db = Db::connect(url).await.expect("the database opens");
        let mut tx = db.read().await.expect("it can be read");
        let records = tx.recent_requests(ALL).await.expect("records can be read");
        let nodes: BTreeSet<NodeId> = records.iter().map(|record| record.node_id.clone()).collect();
        let (mut incarnations, mut leases, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
        for node in &nodes {
            incarnations.extend(tx.incarnations_of(node).await.expect("incarnations can be read"));
        }
        for incarnation in &incarnations {
            leases.extend(tx.leases_of(&incarnation.id).await.expect("leases can be read"));
        }
        for budget in tx.list::<Budget>().await.expect("budgets can be read") {
            accounts.extend(tx.accounts_of(&BudgetId::from(budget.id), ALL).await.expect("accounts can be read"));
        }
        drop(tx);
        db.close().await;
        Self { records, accounts, leases, incarnations }
    }

    /// What the records cost together, in 1e-9 USD.
    pub(crate) fn cost_nano_usd(&self) -> i64 {
        self.records.iter().map(|record| record.cost.get()).sum()
    }

    /// Every record of a request id.
    pub(crate) fn by_request(&self) -> HashMap<&str, Vec<&Record>> {
        let mut found: HashMap<&str, Vec<&Record>> = HashMap::new();
        for record in &self.records {
            found.entry(&record.request_id).or_default().push(record);
        }
        found
    }

    /// Nothing is held back for anybody any more, and every number follows from the records.
    pub(crate) fn assert_at_rest(&self) {
        for incarnation in &self.incarnations {
            assert_eq!(incarnation.seal, Seal::Closed, "{incarnation:?} is not sealed");
            self.assert_numbered(&incarnation.id, incarnation.through_seq);
        }
        let mut by_account: BTreeMap<&AccountKey, i64> = BTreeMap::new();
        let mut by_lease: BTreeMap<(&Incarnation, &AccountKey), i64> = BTreeMap::new();
        for record in &self.records {
            for account in &record.charged {
                *by_account.entry(account).or_default() += record.cost.get();
                *by_lease.entry((&record.incarnation, account)).or_default() += record.cost.get();
            }
        }
        for lease in &self.leases {
            assert!(lease.sealed, "an open lease: {lease:?}");
            let spent = by_lease.get(&(&lease.incarnation, &lease.account)).copied().unwrap_or_default();
            assert_eq!((lease.spent.get(), lease.settled.get()), (spent, spent), "{lease:?}");
            assert_eq!(lease.granted.get() - lease.returned.get(), spent, "a reservation is left: {lease:?}");
        }
        for account in &self.accounts {
            let spent = by_account.remove(&account.key).unwrap_or_default();
            assert_eq!(account.settled.get(), spent, "{account:?}");
            assert_eq!(account.escrow.get() + account.unleased.get(), spent, "escrow is left: {account:?}");
        }
        assert!(by_account.is_empty(), "charged, but no account: {by_account:?}");
    }

    /// Sequence numbers and intents of one incarnation are 1, 2, 3 … without a hole.
    fn assert_numbered(&self, incarnation: &Incarnation, through_seq: u64) {
        let own = || self.records.iter().filter(|record| record.incarnation == *incarnation);
        let whole = |mut numbers: Vec<u64>| {
            numbers.sort_unstable();
            let last = u64::try_from(numbers.len()).expect("it fits");
            assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "numbers of {incarnation}");
            last
        };
        assert_eq!(whole(own().map(|record| record.seq).collect()), through_seq);
        whole(own().flat_map(|record| &record.attempts).map(|attempt| attempt.intent).filter(|it| *it > 0).collect());
    }

    /// Every request that the provider accepted has exactly one record. What the record calls exact is what the provider
    /// charges, to the nano-dollar; what nobody can know is booked at no less than that and no more than `worst`.
    pub(crate) fn assert_agrees_with(&self, bill: &[Entry], worst: impl Fn(&Record) -> i64) -> Agreement {
        let mut charges: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in bill {
            let id = entry.request_id.as_deref().expect("the gateway names every request upstream");
            *charges.entry(id).or_default() += i64::try_from(entry.cost_nano_usd).expect("it fits");
        }
        let records = self.by_request();
        let mut agreement = Agreement::default();
        for (id, charge) in &charges {
            let [record] = records.get(id).map(Vec::as_slice).unwrap_or_default() else {
                panic!("{id} is on the bill and has the records {:?}", records.get(id));
            };
            match record.basis {
                CostBasis::Exact | CostBasis::ProviderReported => {
                    assert_eq!(record.cost.get(), *charge, "{record:?}");
                    agreement.exact += 1;
                }
                CostBasis::Estimated => agreement.estimated += 1,
                CostBasis::Unknown => {
                    assert!(record.cost.get() >= *charge, "booked below the bill of {charge}: {record:?}");
                    agreement.unknown += 1;
                }
            }
        }
        let twice: Vec<_> = records.values().filter(|records| records.len() != 1).collect();
        assert!(twice.is_empty(), "requests with more than one record: {twice:?}");
        for record in &self.records {
            let (cost, most) = (record.cost.get(), worst(record));
            assert!((0..=most).contains(&cost), "{cost} is not between 0 and {most}: {record:?}");
            let was_answered = record.attempts.iter().any(|attempt| attempt.status != 0);
            assert!(!was_answered || charges.contains_key(record.request_id.as_str()), "not on the bill: {record:?}");
        }
        agreement
    }
}

/// How sure the records of the bill's requests are.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) exact: usize,
    pub(crate) estimated: usize,
    pub(crate) unknown: usize,
}
