// What a person does with viem: deploy, read, send, logs, filters, replacement, reverts, subscriptions. Prints the
// answers as JSON; the test runs it against two nodes and compares them.
//
// node viem.mjs HTTP_URL WS_URL CONTRACTS_DIRECTORY

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [httpUrl, wsUrl, contracts] = process.argv.slice(2);
const require = createRequire(join(contracts, "package.json"));
const viem = require("viem");
const { mnemonicToAccount } = require("viem/accounts");
const { foundry } = require("viem/chains");

const phrase = "test test test test test test test test test test test junk";
const alice = mnemonicToAccount(phrase, { addressIndex: 2 });
const bob = mnemonicToAccount(phrase, { addressIndex: 3 }).address;
const artifact = (name) => JSON.parse(readFileSync(join(contracts, "artifacts", `${name}.json`), "utf8"));
const { abi: tideAbi, bytecode: tideCode } = artifact("Tide");

const answers = {};
const transport = viem.http(httpUrl, { batch: true });
const reader = viem.createPublicClient({ chain: foundry, transport, pollingInterval: 50, cacheTime: 0 });
const wallet = viem.createWalletClient({ chain: foundry, transport, account: alice });

answers.chainId = await reader.getChainId();
answers.many = await Promise.all([reader.getBalance({ address: bob }), reader.getTransactionCount({ address: bob })]);

// Deploy.
const deploy = async (abi, bytecode, args) =>
    reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode, args }) });
const { abi: authorityAbi, bytecode: authorityCode } = artifact("AccessManager");
const authority = await deploy(authorityAbi, authorityCode, [alice.address]);
const genesis = [{ to: alice.address, amount: viem.parseEther("1000") }];
const deployed = await deploy(tideAbi, tideCode, [authority.contractAddress, genesis]);
const tide = { address: deployed.contractAddress, abi: tideAbi };
answers.deploy = { status: deployed.status, gasUsed: deployed.gasUsed, logs: deployed.logs.length, type: deployed.type };
answers.authority = await reader.readContract({ ...tide, functionName: "authority" });

// Heads and logs over a WebSocket, and by a filter that is polled.
const socket = viem.createPublicClient({ chain: foundry, transport: viem.webSocket(wsUrl) });
const stops = [];
const once = (begin) =>
    new Promise((resolve, reject) => stops.push(begin({ resolve, onError: reject })));
const heard = [
    once(({ resolve, onError }) => socket.watchBlocks({ onBlock: (block) => resolve(block.transactions.length), onError })),
    once(({ resolve, onError }) =>
        socket.watchContractEvent({ ...tide, eventName: "Transfer", onLogs: (logs) => resolve(logs[0].args), onError })),
];
// A call on the same connection is answered after the subscriptions that were asked for before it.
await socket.getBlockNumber();
const filter = await reader.createContractEventFilter({ ...tide, eventName: "Transfer" });
await socket.getBlockNumber();

// Send.
const sent = await wallet.writeContract({ ...tide, functionName: "transfer", args: [bob, 25n] });
const receipt = await reader.waitForTransactionReceipt({ hash: sent });
answers.send = { status: receipt.status, gasUsed: receipt.gasUsed, topics: receipt.logs[0].topics, index: receipt.logs[0].logIndex };
answers.heard = await Promise.all(heard);
for (const stop of stops) stop();
answers.filtered = (await reader.getFilterChanges({ filter })).map((log) => log.args);
answers.filteredAgain = (await reader.getFilterChanges({ filter })).length;
answers.uninstalled = await reader.uninstallFilter({ filter });
const transaction = await reader.getTransaction({ hash: sent });
answers.transaction = { type: transaction.type, nonce: transaction.nonce, index: transaction.transactionIndex, to: transaction.to };
const logs = await reader.getContractEvents({ ...tide, eventName: "Transfer", fromBlock: 0n, args: { to: bob } });
answers.logs = logs.map((log) => [log.args, log.logIndex]);

// Replacement: viem follows the transaction that took the first one's place.
const nonce = await reader.getTransactionCount({ address: alice.address });
const waiting = (value, gwei) => ({
    to: bob,
    value,
    nonce: nonce + 1,
    gas: 21000n,
    maxFeePerGas: viem.parseGwei(String(gwei)),
    maxPriorityFeePerGas: viem.parseGwei(String(gwei)),
});
const first = await wallet.sendTransaction(waiting(1n, 10));
// Nodes say this with different codes.
answers.underpriced = await wallet.sendTransaction(waiting(2n, 10)).then(() => "taken", () => "refused");
const second = await wallet.sendTransaction(waiting(3n, 20));
await wallet.sendTransaction({ ...waiting(5n, 10), nonce });
answers.replaced = (await reader.waitForTransactionReceipt({ hash: second })).status;
answers.firstIsGone = (await failure(() => reader.getTransactionReceipt({ hash: first }))).name;
answers.balanceAfter = await reader.getBalance({ address: bob });

// State of a block that has passed.
answers.past = await reader.readContract({ ...tide, functionName: "balanceOf", args: [bob], blockNumber: deployed.blockNumber });

// Reverts.
const tooMuch = { ...tide, functionName: "transfer", args: [bob, viem.parseEther("5000")], account: alice };
answers.reverts = {
    simulated: await failure(() => reader.simulateContract(tooMuch)),
    estimated: await failure(() => reader.estimateContractGas(tooMuch)),
};
answers.nonceTooLow = await failure(() => wallet.sendTransaction({ ...waiting(1n, 10), nonce: 0 }));
// Nodes say this with different codes.
const other = await alice.signTransaction({ ...waiting(1n, 10), chainId: 1, type: "eip1559" });
answers.chainIsOther = await reader.sendRawTransaction({ serializedTransaction: other }).then(() => "taken", () => "refused");
const fees = await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] });
answers.feeHistory = [fees.baseFeePerGas.length, fees.gasUsedRatio.length, fees.reward.length];
console.log(JSON.stringify(answers, (_, value) => (typeof value === "bigint" ? value.toString() : value), 1));
// The WebSocket would keep the process.
process.exit(0);

async function failure(attempt) {
    try {
        await attempt();
    } catch (error) {
        const revert = error.walk?.((inner) => inner.data?.errorName !== undefined)?.data;
        return {
            name: error.name,
            cause: error.cause?.name,
            ...(revert && { revert: revert.errorName, args: revert.args.map(String) }),
        };
    }
    return "it did not fail";
}
