#!/usr/bin/env -S node --liftoff-only --stack-size=8000
// The Solidity compiler for forge: solc's WebAssembly build behind the two calls of a native solc that forge makes.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

// Loading the compiler takes seconds and forge asks for its version again and again, so the answer is kept beside
// the installed package, under whose version it is true.
function version() {
    const package_dir = path.dirname(require.resolve("solc/package.json"));
    const kept = path.join(package_dir, `.version-${require("solc/package.json").version}`);
    try {
        return fs.readFileSync(kept, "utf8");
    } catch {
        const found = require("solc").version();
        // Written aside and renamed: forge may start several of these at once.
        const fresh = `${kept}.${process.pid}`;
        fs.writeFileSync(fresh, found);
        fs.renameSync(fresh, kept);
        return found;
    }
}

// A pipe that is full answers EAGAIN; what did not go is written again.
function writeAll(text) {
    let rest = Buffer.from(text);
    while (rest.length > 0) {
        try {
            rest = rest.subarray(fs.writeSync(1, rest));
        } catch (error) {
            if (error.code !== "EAGAIN") throw error;
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
        }
    }
}

function readImport(file) {
    try {
        return { contents: fs.readFileSync(file, "utf8") };
    } catch (error) {
        return { error: error.message };
    }
}

if (process.argv.includes("--version")) {
    writeAll(`solc, the Solidity compiler, as WebAssembly\nVersion: ${version()}\n`);
} else if (process.argv.includes("--standard-json")) {
    const input = fs.readFileSync(0, "utf8");
    writeAll(require("solc").compile(input, { import: readImport }));
} else {
    process.stderr.write("this wrapper knows --version and --standard-json\n");
    process.exit(2);
}
