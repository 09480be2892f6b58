// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice Keeps one percent of each transfer once it is told to.
contract FeeToken is ERC20("Fee", "FEE") {
    bool public charging = true;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setCharging(bool on) external {
        charging = on;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (charging && from != address(0) && to != address(0)) super._update(to, address(0), value / 100);
    }
}

/// @notice Returns nothing from its transfers, like USDT on Ethereum.
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Refuses transfers to accounts on a list.
contract BlockingToken is ERC20("Blocking", "BLK") {
    mapping(address => bool) public blocked;

    error Blocked(address account);

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setBlocked(address account, bool on) external {
        blocked[account] = on;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, value);
    }
}

/// @notice Burns all the gas it is given, once it is told to.
contract BurningToken is ERC20("Burning", "BRN") {
    bool public burning;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setBurning(bool on) external {
        burning = on;
    }

    function _update(address from, address to, uint256 value) internal override {
        while (burning) {}
        super._update(from, to, value);
    }
}

/// @notice Calls anyone during a transfer, once, and remembers whether that succeeded.
contract HookToken is ERC20("Hook", "HOOK") {
    address private _target;
    bytes private _data;
    bool public called;
    bool public succeeded;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function arm(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
        (called, succeeded) = (false, false);
    }

    /// @dev For calls that must come from this token's own account.
    function run(address target, bytes calldata data) external returns (bytes memory) {
        (bool ok, bytes memory result) = target.call(data);
        require(ok, "run failed");
        return result;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        address target = _target;
        if (target == address(0) || from == address(0)) return;
        _target = address(0);
        called = true;
        (succeeded, answer) = target.call(_data);
    }
}

/// @notice A recipient that notices any ERC-721 receiver hook.
contract NosyReceiver {
    bool public hooked;

    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        hooked = true;
        return this.onERC721Received.selector;
    }
}

/// @notice Says that it is a series of whatever credits it is told.
contract Impostor is ERC20("Impostor", "IMP") {
    address public credits;

    constructor(address credits_) {
        credits = credits_;
    }

    function pretend(address credits_) external {
        credits = credits_;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
