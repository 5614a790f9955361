//! What of a built contract is committed: its interface and its code.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::ARTIFACTS;
use crate::workspace::Workspace;

/// A contract as forge built it.
pub struct Artifact {
    name: String,
    abi: Value,
    /// What is sent to deploy it, before the constructor's arguments: `0x` and hexadecimal digits. Where the address of a
    /// library goes is its mark, which the deployment replaces.
    bytecode: String,
}

impl Artifact {
    /// Reads what forge wrote.
    pub fn built(workspace: &Workspace, name: &str) -> Result<Self> {
        let path = format!("contracts/out/{name}.sol/{name}.json");
        let text = std::fs::read_to_string(workspace.root().join(&path))
            .with_context(|| format!("cannot read {path}"))?;
        Self::parse(name, &text).with_context(|| format!("{path} is not what forge used to write"))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let built: Value = serde_json::from_str(text)?;
        let mut abi = built.get("abi").context("it has no abi")?.clone();
        forget_value_types(&mut abi);
        // Whether a map keeps its order is a feature of serde_json that any dependency may turn on.
        abi.sort_all_objects();
        let bytecode =
            built.pointer("/bytecode/object").and_then(Value::as_str).context("it has no bytecode")?;
        let bytecode = mark_libraries(bytecode);
        anyhow::ensure!(
            bytecode.len() > 2
                && bytecode.starts_with("0x")
                && bytecode[2..].bytes().all(|c| c.is_ascii_hexdigit()),
            "its bytecode is missing, or is no hexadecimal number"
        );
        Ok(Self { name: name.to_owned(), abi, bytecode })
    }

    /// Where it is committed, from the workspace's root.
    pub fn path(&self) -> String {
        format!("{ARTIFACTS}/{}.json", self.name)
    }

    /// The committed text: one line for each item of the interface, so that a change can be read.
    pub fn text(&self) -> Result<String> {
        let items = self.abi.as_array().context("the abi is no list")?;
        let items: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
        let (name, bytecode) = (json!(self.name), json!(self.bytecode));
        Ok(format!(
            "{{\n  \"contractName\": {name},\n  \"abi\": [\n{}\n  ],\n  \"bytecode\": {bytecode}\n}}\n",
            items.join(",\n")
        ))
    }

    /// How long the code is that is sent to deploy it.
    pub fn code_bytes(&self) -> usize {
        (self.bytecode.len() - 2) / 2
    }
}

/// Turns the compiler's marks of libraries, `__$` and 34 digits and `$__`, into digits, so that code is a number with
/// them too: `fff` and the same digits and `fff`.
fn mark_libraries(bytecode: &str) -> String {
    bytecode.replace("__$", "fff").replace("$__", "fff")
}

/// Takes away the names of Solidity's value types and enums, which are not part of the interface: `Ppm` is a `uint32` to
/// whoever calls. Names of structs stay, as bindings call theirs by them.
fn forget_value_types(abi: &mut Value) {
    match abi {
        Value::Object(item) => {
            if item.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.starts_with("tuple")) {
                item.remove("internalType");
            }
            item.values_mut().for_each(forget_value_types);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_value_types),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_text_is_json_of_one_line_an_item() -> Result<()> {
        let built =
            r#"{"abi":[{"type":"a","name":"n"},{"type":"b"}],"bytecode":{"object":"0x6001"},"ast":{}}"#;
        let artifact = Artifact::parse("Tide", built)?;
        let text = artifact.text()?;
        assert_eq!(text.lines().count(), 8);
        assert!(text.contains(r#"    {"name":"n","type":"a"}"#), "in order of names: {text}");
        let parsed: Value = serde_json::from_str(&text)?;
        assert_eq!(parsed["abi"][1]["type"], "b");
        assert_eq!(parsed["bytecode"], "0x6001");
        assert_eq!(artifact.code_bytes(), 2);
        Ok(())
    }

    #[test]
    fn structs_keep_their_names_and_value_types_do_not() {
        let mut abi = json!([{"type": "function", "inputs": [
            {"type": "uint32", "internalType": "Ppm"},
            {"type": "tuple[]", "internalType": "struct A[]", "components": [{"type": "uint8", "internalType": "enum R"}]},
        ]}]);
        forget_value_types(&mut abi);
        let expected = json!([{"type": "function", "inputs": [
            {"type": "uint32"},
            {"type": "tuple[]", "internalType": "struct A[]", "components": [{"type": "uint8"}]},
        ]}]);
        assert_eq!(abi, expected);
    }

    #[test]
    fn the_places_of_libraries_have_marks_of_as_many_digits() -> Result<()> {
        let digits = "0123456789abcdef0123456789abcdef01";
        let object = format!("0x60__${digits}$__01");
        let built = json!({ "abi": [], "bytecode": { "object": object } }).to_string();
        let artifact = Artifact::parse("Tide", &built)?;
        assert_eq!(artifact.bytecode, format!("0x60fff{digits}fff01"));
        assert_eq!(artifact.code_bytes(), 22);
        let built = r#"{"abi":[],"bytecode":{"object":"0x60__"}}"#;
        assert!(Artifact::parse("Tide", built).is_err());
        Ok(())
    }
}
