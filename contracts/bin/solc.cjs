#!/usr/bin/env -S node --liftoff-only --stack-size=8000
// The Solidity compiler for forge: solc's WebAssembly build behind the two calls of a native solc that forge makes.
//
// This build knows no threads, and nearly all of its time goes into generating code. So the sources are divided among
// as many processes as the machine has processors: each reads all of them, generates the code of its own part, and what
// they give is put together. The code of a contract is the same however its neighbours are divided.
"use strict";

const child_process = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

// A part of less source than this is not worth a process of its own, which reads all sources anew.
const LEAST_PART_BYTES = 60_000;

// The memory of one process reaches a gigabyte.
const MOST_PARTS = 8;

// Installed packages are mostly interfaces and parts of contracts, which take little code by themselves.
const PACKAGE_DIVISOR = 20;

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

function compile(text) {
    return require("solc").compile(text, { import: readImport });
}

// What is wanted of a file: what is named for it, or else for all.
function wantedOf(selection, file) {
    return selection[file] ?? selection["*"] ?? {};
}

function generatesCode(wanted) {
    return Object.values(wanted).some((outputs) => outputs.some((output) => /^(\*|evm|ir)/.test(output)));
}

// The files of which code is wanted, divided into parts of about the same length of source.
function partsOf(input) {
    const files = Object.entries(input.sources)
        .filter(([file]) => generatesCode(wantedOf(input.settings.outputSelection, file)))
        .map(([file, source]) => {
            const bytes = source.content?.length ?? 0;
            return { file, bytes: file.startsWith("node_modules/") ? bytes / PACKAGE_DIVISOR : bytes };
        })
        .sort((a, b) => b.bytes - a.bytes);
    const bytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const count = Math.min(os.availableParallelism(), MOST_PARTS, Math.floor(bytes / LEAST_PART_BYTES));
    const parts = Array.from({ length: Math.max(count, 1) }, () => ({ files: [], bytes: 0 }));
    for (const { file, bytes } of files) {
        const least = parts.reduce((a, b) => (b.bytes < a.bytes ? b : a));
        least.files.push(file);
        least.bytes += bytes;
    }
    return parts.map(({ files }) => files);
}

// The first part also gives what is wanted of the files without code.
function inputOf(input, parts, part) {
    const { outputSelection } = input.settings;
    const elsewhere = new Set(parts.flatMap((files, other) => (other === part ? [] : files)));
    const selection = {};
    for (const file of Object.keys(input.sources)) {
        const here = part === 0 ? !elsewhere.has(file) : parts[part].includes(file);
        selection[file] = here ? wantedOf(outputSelection, file) : { "*": [] };
    }
    return JSON.stringify({ ...input, settings: { ...input.settings, outputSelection: selection } });
}

function start(text) {
    return new Promise((resolve, reject) => {
        const child = child_process.spawn(process.execPath, [...process.execArgv, __filename, "--part"], {
            stdio: ["pipe", "pipe", "inherit"],
        });
        const chunks = [];
        child.stdout.on("data", (chunk) => chunks.push(chunk));
        child.on("error", reject);
        child.on("close", (code, signal) => {
            if (code === 0) resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")));
            else reject(new Error(`a part of the compiler ended with ${signal ?? code}`));
        });
        child.stdin.on("error", () => {}); // It ended early, and "close" says how.
        child.stdin.end(text);
    });
}

// Every part finds the same errors and warnings of the sources, and those of its own code.
function joined(outputs) {
    const errors = new Map();
    const whole = { contracts: {}, sources: {} };
    for (const output of outputs) {
        for (const error of output.errors ?? []) errors.set(JSON.stringify(error), error);
        Object.assign(whole.contracts, output.contracts);
        for (const [file, source] of Object.entries(output.sources ?? {})) {
            whole.sources[file] = { ...whole.sources[file], ...source };
        }
    }
    return errors.size === 0 ? whole : { errors: [...errors.values()], ...whole };
}

async function compileInParts(text) {
    const input = JSON.parse(text);
    const parts = partsOf(input);
    if (parts.length === 1) return compile(text);
    return JSON.stringify(joined(await Promise.all(parts.map((_, part) => start(inputOf(input, parts, part))))));
}

if (process.argv.includes("--version")) {
    writeAll(`solc, the Solidity compiler, as WebAssembly\nVersion: ${version()}\n`);
} else if (process.argv.includes("--standard-json")) {
    compileInParts(fs.readFileSync(0, "utf8")).then(writeAll, (error) => {
        process.stderr.write(`${error.message}\n`);
        process.exitCode = 1;
    });
} else if (process.argv.includes("--part")) {
    writeAll(compile(fs.readFileSync(0, "utf8")));
} else {
    process.stderr.write("this wrapper knows --version and --standard-json\n");
    process.exit(2);
}
