// What a person does with ethers: deploy, read, send, logs, replacement, reverts, subscriptions. Prints the answers as
// JSON; the test runs it against two nodes and compares them.
//
// node ethers.mjs HTTP_URL WS_URL CONTRACTS_DIRECTORY

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [httpUrl, wsUrl, contracts] = process.argv.slice(2);
const require = createRequire(join(contracts, "package.json"));
const { ethers } = require("ethers");

// The first two of the development accounts that both nodes fund.
const phrase = ethers.Mnemonic.fromPhrase("test test test test test test test test test test test junk");
const account = (index) => ethers.HDNodeWallet.fromMnemonic(phrase, `m/44'/60'/0'/0/${index}`);
const artifact = (name) => JSON.parse(readFileSync(join(contracts, "artifacts", `${name}.json`), "utf8"));

const answers = {};
// polling: ethers asks for new blocks every so often; a short time keeps the test short.
const provider = new ethers.JsonRpcProvider(httpUrl, undefined, { pollingInterval: 50, cacheTimeout: -1 });
const alice = new ethers.Wallet(account(0).privateKey, provider);
const bob = account(1).address;

const network = await provider.getNetwork();
answers.chainId = network.chainId.toString();
answers.balanceBefore = (await provider.getBalance(bob)).toString();

// Deploy.
const authorityFactory = new ethers.ContractFactory(artifact("AccessManager").abi, artifact("AccessManager").bytecode, alice);
const authority = await authorityFactory.deploy(alice.address);
await authority.waitForDeployment();
const tideFactory = new ethers.ContractFactory(artifact("Tide").abi, artifact("Tide").bytecode, alice);
const tide = await tideFactory.deploy(await authority.getAddress(), [[alice.address, ethers.parseEther("1000")]]);
const deployed = await tide.deploymentTransaction().wait();
answers.deploy = {
    address: deployed.contractAddress,
    status: deployed.status,
    gasUsed: deployed.gasUsed.toString(),
    type: deployed.type,
    codeHash: ethers.keccak256(await provider.getCode(deployed.contractAddress)),
};

// Read.
answers.read = {
    name: await tide.name(),
    supply: (await tide.totalSupply()).toString(),
    slot: await provider.getStorage(deployed.contractAddress, 2),
    block: (await tide.totalSupply({ blockTag: deployed.blockNumber })).toString(),
};

// Send, and what is heard of it over a WebSocket.
const socket = new ethers.WebSocketProvider(wsUrl);
const filter = { address: deployed.contractAddress, topics: [ethers.id("Transfer(address,address,uint256)")] };
const heardBlock = deferred();
const heardLog = deferred();
await socket.on("block", heardBlock.resolve);
await socket.on(filter, heardLog.resolve);
// Answered after the subscriptions that were asked for before it on the same connection.
await socket.send("eth_blockNumber", []);
const receipt = await (await tide.transfer(bob, 25n)).wait();
answers.send = { status: receipt.status, gasUsed: receipt.gasUsed.toString(), logs: receipt.logs.length };
answers.heardBlock = (await heardBlock.promise) >= receipt.blockNumber;
const log = await heardLog.promise;
const event = tide.interface.parseLog(log);
answers.heardLog = { name: event.name, to: event.args[1], value: event.args[2].toString(), index: log.index };
await socket.destroy();
const transfers = await tide.queryFilter(tide.filters.Transfer(), 0, "latest");
answers.logs = transfers.map((log) => [log.args[0], log.args[1], log.args[2].toString(), log.index]);

// Replacement: a transaction that waits for the nonce before it gives way to one that pays more, and only to that.
const nonce = await provider.getTransactionCount(alice.address);
const fees = (gwei) => ({
    maxFeePerGas: ethers.parseUnits(String(gwei), "gwei"),
    maxPriorityFeePerGas: ethers.parseUnits(String(gwei), "gwei"),
});
const waiting = (value, gwei) => ({ to: bob, value, nonce: nonce + 1, gasLimit: 21000n, ...fees(gwei) });
const first = await alice.sendTransaction(waiting(1n, 10));
answers.underpriced = await failure(() => alice.sendTransaction(waiting(2n, 10)));
const second = await alice.sendTransaction(waiting(3n, 20));
answers.pendingCount = await provider.getTransactionCount(alice.address, "pending") - nonce;
const before = await alice.sendTransaction({ to: bob, value: 5n, nonce, gasLimit: 21000n, ...fees(10) });
await before.wait();
const mined = await provider.waitForTransaction(second.hash);
answers.replacement = {
    status: mined.status,
    firstIsGone: (await provider.getTransactionReceipt(first.hash)) === null,
    balanceAfter: (await provider.getBalance(bob)).toString(),
};

// Reverts, in words and as the contract's own errors.
answers.reverts = {
    customError: await failure(() => tide.transfer.staticCall(bob, ethers.parseEther("5000"))),
    estimate: await tide.transfer.estimateGas(bob, ethers.parseEther("5000")).catch((error) => error.info.error.code),
    mined: await failure(async () => (await tide.transfer(bob, ethers.parseEther("5000"), { gasLimit: 100000n })).wait()),
};
answers.nonceTooLow = await failure(() => alice.sendTransaction({ to: bob, value: 1n, nonce: 0, gasLimit: 21000n, ...fees(10) }));
const poor = new ethers.Wallet(ethers.id("nobody has sent this account anything"), provider);
answers.poor = await failure(() => poor.sendTransaction({ to: bob, value: 1n, nonce: 0, gasLimit: 21000n, ...fees(10) }));
answers.unknownMethod = await provider.send("eth_noSuchMethod", []).catch((error) => error.error.code);

const history = await provider.send("eth_feeHistory", ["0x2", "latest", [50]]);
answers.feeHistory = [history.baseFeePerGas.length, history.gasUsedRatio.length, history.reward.length];
provider.destroy();
console.log(JSON.stringify(answers, null, 1));

function deferred() {
    const parts = {};
    parts.promise = new Promise((resolve) => (parts.resolve = resolve));
    return parts;
}

async function failure(attempt) {
    try {
        await attempt();
    } catch (error) {
        const revert = error.revert ? { revert: error.revert.name, args: error.revert.args.map(String) } : {};
        return { code: error.code, ...revert };
    }
    return "it did not fail";
}
