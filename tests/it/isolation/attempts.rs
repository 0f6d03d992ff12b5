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
                    let answer = ask(&stage, case, credential, &json!({})).await;
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

    /// What must come of it.
    fn expected(case: &Case, caller: Caller) -> Outcome {
        match caller {
            Caller::Anonymous => Outcome::Refused("UNAUTHENTICATED"),
            _ if caller.may_only_read() && case.kind == OperationType::Mutation => {
                Outcome::Refused("FORBIDDEN")
            }
            Caller::Admin => case.admin.as_ref().unwrap_or(&case.stranger).clone(),
            Caller::OwnersReadKey
                if !case.admins_alone && !matches!(case.stranger, Outcome::Refused(_)) =>
            {
                Outcome::Hers
            }
            _ => case.stranger.clone(),
        }
    }

    async fn attempt(&self, case: &Case, caller: Caller) -> Result<String, String> {
        let expected = Self::expected(case, caller);
        let credential = &self.credentials[&caller];
        let variables = match expected {
            Outcome::Governs => self.things.bystanders(&case.variables),
            _ => self.things.hers(&case.variables),
        };
        let answer = self.ask(case, credential, &variables).await;
        let is_hers = matches!(expected, Outcome::Hers);
        let may_know_her = is_hers || matches!(expected, Outcome::SeesWho);
        if (answer.body.contains(SECRET) && !is_hers)
            || (answer.body.contains(OWNER) && !may_know_her)
        {
            return Err(format!("holds what is hers: {answer:?}"));
        }
        let done = answer.codes().is_empty() && answer.has_data();
        match expected {
            Outcome::NotFound => {
                let nothing = self.about_nothing(case, credential).await;
                let other_codes = answer.codes().iter().any(|code| code != "NOT_FOUND");
                if answer != nothing || other_codes || answer.has_data() {
                    return Err(differ(&answer, &nothing));
                }
                Ok("not found".to_owned())
            }
            Outcome::Refused(code) => {
                let nothing = self.about_nothing(case, credential).await;
                let codes = answer.codes();
                let refused = codes.iter().all(|found| found == code) && !codes.is_empty();
                // A socket of nobody's is closed before it can ask for anything.
                let closed = code == "UNAUTHENTICATED" && answer.status == 4403;
                if answer != nothing || !(refused || closed) || answer.has_data() {
                    return Err(differ(&answer, &nothing));
                }
                Ok(code.to_lowercase().replace('_', " "))
            }
            Outcome::Own(data) => same(&answer.json(), &json!({ "data": data }), "own"),
            Outcome::AsBefore => {
                let before = &self.before[&(case.name.clone(), caller)];
                same(&answer.json(), &before.json(), "own")
            }
            Outcome::Allowed(word) if done => Ok(word.to_owned()),
            Outcome::SeesWho if done && answer.body.contains(OWNER) => Ok("users only".to_owned()),
            Outcome::Governs if done => Ok("users only".to_owned()),
            Outcome::Hers if done => Ok("hers".to_owned()),
            _ => Err(format!("answers {answer:?}")),
        }
    }

    async fn about_nothing(&self, case: &Case, credential: &Credential) -> Answer {
        let variables = self.things.nobodys(&case.variables);
        self.ask(case, credential, &variables).await
    }

    async fn ask(&self, case: &Case, who: &Credential, variables: &Value) -> Answer {
        ask(&self.stage, case, who, variables).await
    }
}

async fn ask(stage: &Stage, case: &Case, who: &Credential, variables: &Value) -> Answer {
    match case.kind {
        OperationType::Subscription => stage.subscribe(who, &case.document, variables).await,
        _ => stage.ask(who, &case.document, variables).await,
    }
}

fn differ(answer: &Answer, nothing: &Answer) -> String {
    format!("answers {answer:?}, and of what never was {nothing:?}")
}

fn same(answer: &Value, expected: &Value, word: &str) -> Result<String, String> {
    if answer == expected {
        return Ok(word.to_owned());
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
