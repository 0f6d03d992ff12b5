//! Every caller tries every case; what came of it, as a matrix.

use std::{collections::BTreeMap, fmt};

use async_graphql::parser::types::OperationType;
use serde_json::{Value, json};

use super::{
    callers::Caller,
    cases::{Case, Outcome, cases},
    floors::Floor,
    schema::Schema,
    stage::{Answer, Credential, Stage},
    things::{OWNER, SECRET, Things},
};

/// One caller's try at one case.
pub struct Attempt {
    pub case: String,
    pub caller: Caller,
    /// The outcome in a word, or what was wrong with it.
    pub outcome: Result<String, String>,
}

/// What became of all of them.
pub struct Report {
    pub attempts: Vec<Attempt>,
    /// The owner's rows that are not as they were, and rows of others that refer to hers.
    pub changes: Vec<String>,
}

/// A stage with everybody on it.
pub struct Scene {
    pub stage: Stage,
    pub cases: Vec<Case>,
    things: Things,
    credentials: BTreeMap<Caller, Credential>,
    /// What strangers saw of their own before the owner had anything.
    before: BTreeMap<(String, Caller), Answer>,
}

impl Scene {
    /// Lets everybody move in, and then takes these floors away.
    pub async fn without(removed: &[Floor]) -> Self {
        let schema = Schema::read();
        let cases = cases(&schema);
        let stage = Stage::set(removed).await;
        let mut credentials = Things::of_strangers(&stage).await;
        let mut before = BTreeMap::new();
        for case in &cases {
            if matches!(case.stranger, Outcome::AsBefore) {
                for (caller, credential) in &credentials {
                    let answer = stage.ask(credential, &case.document, &json!({})).await;
                    before.insert((case.name.clone(), *caller), answer);
                }
            }
        }
        let things = Things::of(&stage, OWNER).await;
        credentials.insert(Caller::OwnersReadKey, things.key.clone());
        credentials.insert(Caller::Anonymous, Credential::None);
        for floor in removed {
            stage.remove(*floor).await;
        }
        Self {
            stage,
            cases,
            things,
            credentials,
            before,
        }
    }

    /// Every caller tries every case.
    pub async fn attempts(&self) -> Report {
        let dump = self.things.dump(&self.stage).await;
        let mut attempts = Vec::new();
        for case in &self.cases {
            for caller in Caller::ALL {
                attempts.push(Attempt {
                    case: case.name.clone(),
                    caller,
                    outcome: self.attempt(case, caller).await,
                });
            }
        }
        let after = self.things.dump(&self.stage).await;
        let gone = dump.iter().filter(|row| !after.contains(row));
        let come = after.iter().filter(|row| !dump.contains(row));
        let changes = gone
            .map(|row| format!("- {row}"))
            .chain(come.map(|row| format!("+ {row}")))
            .collect();
        Report { attempts, changes }
    }

    /// The owner, with every right, about her own things or about those that never were.
    pub async fn owner(&self, case: &Case) -> Answer {
        let variables = self.things.hers(&case.variables);
        self.ask(case, &Credential::token(OWNER), &variables).await
    }

    async fn attempt(&self, case: &Case, caller: Caller) -> Result<String, String> {
        let expected = match (caller, &case.admin) {
            (Caller::Anonymous, _) => &Outcome::Refused("UNAUTHENTICATED"),
            _ if caller.may_only_read() && case.kind == OperationType::Mutation => {
                &Outcome::Refused("FORBIDDEN")
            }
            (Caller::Admin, Some(outcome)) => outcome,
            _ => &case.stranger,
        };
        if matches!(expected, Outcome::Untried) {
            return Ok("may".to_owned());
        }
        let credential = &self.credentials[&caller];
        let answer = self
            .ask(case, credential, &self.things.hers(&case.variables))
            .await;
        if caller == Caller::OwnersReadKey
            && case.admin.is_none()
            && !matches!(expected, Outcome::Refused(_))
        {
            return if answer.codes().is_empty() && answer.has_data() {
                Ok("hers".to_owned())
            } else {
                Err(format!("answers {answer:?}"))
            };
        }
        let may_know_her = matches!(expected, Outcome::ShowsWho);
        if answer.body.contains(SECRET) || (answer.body.contains(OWNER) && !may_know_her) {
            return Err(format!("holds what is hers: {answer:?}"));
        }
        let of_nothing = self.things.nobodys(&case.variables);
        match expected {
            Outcome::NotFound => {
                let nothing = self.ask(case, credential, &of_nothing).await;
                let other_codes = answer.codes().iter().any(|code| code != "NOT_FOUND");
                if answer != nothing || other_codes || answer.has_data() {
                    return Err(differ(&answer, &nothing));
                }
                Ok("not found".to_owned())
            }
            Outcome::Own(data) => {
                same(&answer.json(), &json!({ "data": data }))?;
                Ok("own".to_owned())
            }
            Outcome::AsBefore => {
                same(
                    &answer.json(),
                    &self.before[&(case.name.clone(), caller)].json(),
                )?;
                Ok("own".to_owned())
            }
            Outcome::Refused(code) => {
                let nothing = self.ask(case, credential, &of_nothing).await;
                let codes = answer.codes();
                let refused = codes.iter().all(|found| found == code) && !codes.is_empty();
                // A socket of nobody's is closed before it can ask for anything.
                let closed = *code == "UNAUTHENTICATED" && answer.status == 4403;
                if answer != nothing || !(refused || closed) || answer.has_data() {
                    return Err(differ(&answer, &nothing));
                }
                Ok(code.to_lowercase().replace('_', " "))
            }
            Outcome::Allowed(word) => {
                if !answer.codes().is_empty() || !answer.has_data() {
                    return Err(format!("answers {answer:?}"));
                }
                Ok((*word).to_owned())
            }
            Outcome::ShowsWho => {
                if !answer.codes().is_empty() || !answer.body.contains(OWNER) {
                    return Err(format!("answers {answer:?}"));
                }
                Ok("who she is".to_owned())
            }
            Outcome::Untried => unreachable!("it was not tried"),
        }
    }

    async fn ask(&self, case: &Case, who: &Credential, variables: &Value) -> Answer {
        match case.kind {
            OperationType::Subscription => {
                let events = self.stage.subscribe(who, &case.document, variables);
                events.await
            }
            _ => self.stage.ask(who, &case.document, variables).await,
        }
    }
}

fn differ(answer: &Answer, nothing: &Answer) -> String {
    format!("answers {answer:?}, and of what never was {nothing:?}")
}

fn same(answer: &Value, expected: &Value) -> Result<(), String> {
    if answer == expected {
        return Ok(());
    }
    Err(format!("answers {answer}, and should {expected}"))
}

impl Report {
    /// # Panics
    ///
    /// With all faults, when there is one.
    pub fn assert_refused(&self) {
        let faults = self.attempts.iter().filter_map(|attempt| {
            let fault = attempt.outcome.as_ref().err()?;
            let (case, caller) = (&attempt.case, attempt.caller.name());
            Some(format!("{case}, {caller}: {fault}"))
        });
        let changes = self.changes.iter().map(|row| format!("her data: {row}"));
        let faults: Vec<String> = faults.chain(changes).collect();
        assert!(faults.is_empty(), "{self}\n{}", faults.join("\n"));
    }
}

/// The matrix, caller × field.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |attempt: &Attempt| attempt.case.chars().count();
        let width = self.attempts.iter().map(wide).max().unwrap_or_default();
        write!(f, "{:width$}", "")?;
        for caller in Caller::ALL {
            write!(f, "  {:16}", caller.name())?;
        }
        for row in self.attempts.chunks(Caller::ALL.len()) {
            write!(f, "\n{:width$}", row[0].case)?;
            for attempt in row {
                let word = attempt.outcome.as_deref().unwrap_or("A LEAK");
                write!(f, "  {word:16}")?;
            }
        }
        writeln!(f)
    }
}
