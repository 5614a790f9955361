// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

// Who holds which role is kept by OpenZeppelin's AccessManager as it is. It is imported here, so that it is built, and
// deployed, with the code that this repository pins.

// forge-lint: disable-next-line(unused-import)
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
