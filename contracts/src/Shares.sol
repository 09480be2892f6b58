// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20Upgradeable} from "@openzeppelin/contracts-upgradeable/token/ERC20/ERC20Upgradeable.sol";
import {
    ERC20PermitUpgradeable
} from "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20PermitUpgradeable.sol";
import {
    ERC20VotesUpgradeable
} from "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20VotesUpgradeable.sol";
import {NoncesUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/NoncesUpgradeable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IERC7943Fungible} from "./interfaces/IERC7943.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IShares} from "./interfaces/IShares.sol";
import {ITransferGate} from "./interfaces/ITransferGate.sol";
import {Gates} from "./libraries/Gates.sol";
import {Names} from "./libraries/Names.sol";
import {PerShare} from "./libraries/PerShare.sol";
import {Vesting} from "./libraries/Vesting.sol";

/// @title Fractional ownership of one asset
contract Shares is IShares, ERC20PermitUpgradeable, ERC20VotesUpgradeable, ReentrancyGuardTransient {
    using PerShare for PerShare.Pool;
    using PerShare for PerShare.Holding;
    using Gates for Gates.Rules;
    using Math for uint256;
    using SafeERC20 for IERC20;

    /// @notice A hundred shares: what earns is at least one of them, which bounds the accumulator.
    uint256 public constant MIN_SUPPLY = 100e18;
    /// @notice A thousand million shares, below 2^90 units.
    uint256 public constant MAX_SUPPLY = 1e27;
    /// @notice What a transfer walks through.
    uint256 public constant MAX_CURRENCIES = 4;
    /// @notice What the creation walks through.
    uint256 public constant MAX_ALLOCATIONS = 32;
    uint256 public constant MAX_EXCLUDED = 8;
    /// @notice A longer schedule is a mistake.
    uint256 public constant MAX_VESTING = 3650 days;

    struct Account {
        uint128 granted;
        uint40 start;
        uint40 cliff;
        uint40 end;
        bool isExcluded;
    }

    IDirectory private immutable _directory;

    address private _timelock;
    Gates.Rules private _rules;
    PerShare.Supply private _supply;
    PerShare.Pool[MAX_CURRENCIES] private _pools;
    mapping(address account => Account) private _accounts;
    mapping(address account => mapping(uint256 pool => PerShare.Holding)) private _holdings;
    mapping(address account => uint256) private _frozen;

    constructor(IDirectory directory) {
        _directory = directory;
        _disableInitializers();
    }

    modifier onlyTimelock() {
        if (msg.sender != _timelock) revert Shares_NotTimelock(msg.sender);
        _;
    }

    modifier onlyGate() {
        if (msg.sender != address(_rules.gate)) revert Shares_NotGate(msg.sender);
        _;
    }

    /// @inheritdoc IShares
    function initialize(Terms calldata terms, bytes32 assetId_, address timelock_) external initializer {
        __ERC20_init(terms.name, terms.symbol);
        __ERC20Permit_init(terms.name);
        (_rules.assetId, _timelock) = (assetId_, timelock_);
        (_rules.gate, _rules.votes) = (ITransferGate(terms.gate), terms.votes);
        for (uint256 i = 0; i < terms.currencies.length; ++i) {
            _addCurrency(terms.currencies[i]);
        }
        _exclude(terms.excluded);
        _allocate(terms.allocations);
    }

    /// @inheritdoc IShares
    function collect(address router, address currency) external nonReentrant returns (uint128 amount) {
        if (_directory.nameOf(router) != Names.REVENUE_ROUTER) revert Shares_NotRouter(router);
        PerShare.Pool storage pool = _pools[_indexOf(currency)];
        // What it folds to is read later.
        // slither-disable-next-line unused-return
        pool.fold(_supply);
        // What came, not what was said: a donation in between is as good.
        uint256 before = IERC20(currency).balanceOf(address(this));
        // Its word is not taken for it.
        // slither-disable-next-line unused-return
        IRevenueRouter(router).claim(currency);
        uint256 came = IERC20(currency).balanceOf(address(this)) - before;
        if (!pool.take(_supply, came)) revert Shares_TooMuch(currency, came);
        // casting to 'uint128' is safe because the pool took it
        // forge-lint: disable-next-line(unsafe-typecast)
        amount = uint128(came);
        emit RevenueCollected(router, currency, amount, pool.received);
    }

    /// @inheritdoc IShares
    function claim(address currency) external nonReentrant returns (uint128 amount) {
        return _claim(currency, msg.sender);
    }

    /// @inheritdoc IShares
    function claimTo(address currency, address to) external nonReentrant returns (uint128 amount) {
        emit PaidInstead(msg.sender, to);
        return _claim(currency, to);
    }

    /// @inheritdoc IShares
    function endDelegation(address account) external {
        address delegatee = delegates(account);
        if (_rules.allowsVote(delegatee)) revert Shares_DelegateMayVote(account, delegatee);
        super._delegate(account, address(0));
    }

    /// @inheritdoc IShares
    function grant(Allocation calldata allocation) external onlyTimelock {
        _transfer(msg.sender, allocation.to, allocation.amount);
        _grant(allocation);
    }

    /// @inheritdoc IShares
    function addCurrency(address currency) external onlyTimelock {
        _addCurrency(currency);
    }

    /// @inheritdoc IERC7943Fungible
    function forcedTransfer(address from, address to, uint256 amount) external onlyGate returns (bool) {
        if (!canReceive(to)) revert ERC7943CannotReceive(to);
        _move(from, to, amount);
        uint256 rest = balanceOf(from);
        if (_frozen[from] > rest) _setFrozen(from, rest);
        emit ForcedTransfer(from, to, amount);
        return true;
    }

    /// @inheritdoc IERC7943Fungible
    function setFrozenTokens(address account, uint256 amount) external onlyGate returns (bool) {
        _setFrozen(account, amount);
        return true;
    }

    /// @inheritdoc IERC7943Fungible
    function canSend(address account) public view returns (bool) {
        return _rules.allowsSend(account);
    }

    /// @inheritdoc IERC7943Fungible
    function canReceive(address account) public view returns (bool) {
        return account != address(this) && _rules.allowsReceive(account);
    }

    /// @inheritdoc IERC7943Fungible
    function canTransfer(address from, address to, uint256 amount) external view returns (bool) {
        if (from == address(0) || to == address(0)) return false;
        uint256 held = Math.max(unvestedOf(from), _frozen[from]);
        if (amount > balanceOf(from).saturatingSub(held)) return false;
        return canSend(from) && canReceive(to) && _rules.allowsTransfer(from, to, amount);
    }

    /// @inheritdoc IERC7943Fungible
    function getFrozenTokens(address account) external view returns (uint256) {
        return _frozen[account];
    }

    /// @inheritdoc IShares
    function claimableOf(address account, address currency) external view returns (uint256) {
        uint256 index = _indexOf(currency);
        if (_accounts[account].isExcluded) return 0;
        PerShare.Holding memory holding = _holdings[account][index];
        return holding.due(_pools[index].folded(_supply), balanceOf(account));
    }

    /// @inheritdoc IShares
    function revenueOf(address currency) external view returns (uint128 received, uint128 waiting) {
        PerShare.Pool storage pool = _pools[_indexOf(currency)];
        return (pool.received, pool.waiting);
    }

    /// @inheritdoc IShares
    function currencies() external view returns (address[] memory list) {
        list = new address[](_rules.currencies);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = _pools[i].currency;
        }
    }

    /// @inheritdoc IShares
    function earningSupply() external view returns (uint256) {
        return _supply.earning;
    }

    /// @inheritdoc IShares
    function isExcluded(address account) external view returns (bool) {
        return _accounts[account].isExcluded;
    }

    /// @inheritdoc IShares
    function grantOf(address account) external view returns (Grant memory) {
        Account storage entry = _accounts[account];
        return Grant(entry.granted, entry.start, entry.cliff, entry.end);
    }

    /// @inheritdoc IShares
    function unvestedOf(address account) public view returns (uint256) {
        Account memory entry = _accounts[account];
        return Vesting.unvested(entry.granted, entry.start, entry.cliff, entry.end);
    }

    /// @inheritdoc IShares
    function assetId() external view returns (bytes32) {
        return _rules.assetId;
    }

    /// @inheritdoc IShares
    function timelock() external view returns (address) {
        return _timelock;
    }

    /// @inheritdoc IShares
    function gate() external view returns (address) {
        return address(_rules.gate);
    }

    /// @inheritdoc IShares
    function hasVotes() external view returns (bool) {
        return _rules.votes;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 id) external pure returns (bool) {
        return
            id == type(IERC7943Fungible).interfaceId || id == type(IERC20).interfaceId
                || id == type(IERC165).interfaceId;
    }

    /// @notice Time, not blocks (ERC-6372): chains differ in what a block is.
    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    /// @notice Machine-readable description of the clock (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @notice Next nonce of an account, for ERC-2612 and for delegation by signature.
    function nonces(address owner) public view override(ERC20PermitUpgradeable, NoncesUpgradeable) returns (uint256) {
        return super.nonces(owner);
    }

    function _claim(address currency, address to) private returns (uint128 amount) {
        uint256 index = _indexOf(currency);
        PerShare.Holding storage holding = _holdings[msg.sender][index];
        uint128 perShare = _pools[index].fold(_supply);
        if (!_accounts[msg.sender].isExcluded) holding.accrue(perShare, balanceOf(msg.sender));
        amount = holding.owed;
        if (amount == 0) revert Shares_NothingToClaim(msg.sender, currency);
        bool isAllowed = to != address(this) && _rules.allowsPayment(msg.sender, to);
        if (!isAllowed) revert Shares_CannotBePaid(msg.sender, to);
        holding.owed = 0;
        emit RevenueClaimed(msg.sender, currency, amount);
        IERC20(currency).safeTransfer(to, amount);
    }

    function _addCurrency(address currency) private {
        uint8 count = _rules.currencies;
        if (count == MAX_CURRENCIES) revert Shares_TooMany(count + 1, MAX_CURRENCIES);
        bool isKnown = _placeOf(currency) != count;
        if (currency.code.length == 0 || isKnown) revert Shares_InvalidCurrency(currency);
        _pools[count].open(currency);
        _rules.currencies = count + 1;
        emit CurrencyAdded(currency);
    }

    /// @dev Only here: whoever could exclude an account later could take its part.
    function _exclude(address[] calldata excluded) private {
        if (excluded.length > MAX_EXCLUDED) revert Shares_TooMany(excluded.length, MAX_EXCLUDED);
        // The supply comes from the zero address: what it sends to an account that earns begins to earn.
        _accounts[address(0)].isExcluded = true;
        for (uint256 i = 0; i < excluded.length; ++i) {
            _accounts[excluded[i]].isExcluded = true;
            emit Excluded(excluded[i]);
        }
    }

    function _allocate(Allocation[] calldata allocations) private {
        uint256 count = allocations.length;
        if (count > MAX_ALLOCATIONS) revert Shares_TooMany(count, MAX_ALLOCATIONS);
        uint256 supply = 0;
        for (uint256 i = 0; i < count; ++i) {
            supply += allocations[i].amount;
        }
        if (supply < MIN_SUPPLY || supply > MAX_SUPPLY) revert Shares_InvalidSupply(supply);
        // casting to 'uint128' is safe because the supply is at most `MAX_SUPPLY`
        // forge-lint: disable-next-line(unsafe-typecast)
        _supply.total = uint128(supply);
        for (uint256 i = 0; i < count; ++i) {
            _mint(allocations[i].to, allocations[i].amount);
            if (allocations[i].end != 0) _grant(allocations[i]);
        }
    }

    function _grant(Allocation calldata a) private {
        Account storage entry = _accounts[a.to];
        if (block.timestamp < entry.end) revert Shares_GrantOpen(a.to, entry.end);
        bool inOrder = a.start <= a.cliff && a.cliff <= a.end && a.start < a.end;
        if (!inOrder || a.amount == 0 || a.end <= block.timestamp || a.end > block.timestamp + MAX_VESTING) {
            revert Shares_InvalidGrant(a.to, a.start, a.cliff, a.end);
        }
        (entry.granted, entry.start, entry.cliff, entry.end) = (a.amount, a.start, a.cliff, a.end);
        emit Granted(a.to, a.amount, a.start, a.cliff, a.end);
    }

    function _setFrozen(address account, uint256 amount) private {
        _frozen[account] = amount;
        emit Frozen(account, amount);
    }

    function _indexOf(address currency) private view returns (uint256 index) {
        index = _placeOf(currency);
        if (index == _rules.currencies) revert Shares_UnknownCurrency(currency);
    }

    /// @dev The number of currencies where it is not among them. Few are: to look through them is cheaper than a mapping.
    function _placeOf(address currency) private view returns (uint256 index) {
        uint256 count = _rules.currencies;
        while (index < count && _pools[index].currency != currency) {
            ++index;
        }
    }

    /// @dev Gate, then accounts, balances, votes: nothing that is asked first sees half of it.
    function _update(address from, address to, uint256 value)
        internal
        override(ERC20Upgradeable, ERC20VotesUpgradeable)
    {
        if (to == address(this)) revert ERC7943CannotReceive(to);
        _rules.requireTransfer(from, to, value);
        if (from != address(0)) _requireFree(from, value);
        _move(from, to, value);
    }

    /// @dev Vesting and frozen shares may be the same ones. A balance that is too low is told by ERC-20 itself.
    function _requireFree(address from, uint256 value) private view {
        uint256 balance = balanceOf(from);
        if (value > balance) return;
        uint256 free = balance.saturatingSub(unvestedOf(from));
        if (value > free) revert Shares_Unvested(from, value, free);
        if (_rules.isOpen()) return;
        free = balance.saturatingSub(_frozen[from]);
        if (value > free) revert ERC7943InsufficientUnfrozenBalance(from, value, free);
    }

    function _move(address from, address to, uint256 value) private {
        // Where nothing moves nothing is accrued, or anyone could round others' accounts down.
        if (value == 0 || from == to) return super._update(from, to, value);
        // Else its delegate, who may not vote any more, would get votes with each share that it receives.
        if (_rules.votes && !_rules.allowsVote(delegates(to))) super._delegate(to, address(0));
        (bool fromExcluded, bool toExcluded) = (_accounts[from].isExcluded, _accounts[to].isExcluded);
        uint256 count = _rules.currencies;
        for (uint256 i = 0; i < count; ++i) {
            uint128 perShare = _pools[i].fold(_supply);
            if (!fromExcluded) _holdings[from][i].accrue(perShare, balanceOf(from));
            if (!toExcluded) _holdings[to][i].accrue(perShare, balanceOf(to));
        }
        super._update(from, to, value);
        if (fromExcluded == toExcluded) return;
        // casting to 'uint128' is safe because the value was just moved, and the supply is at most `MAX_SUPPLY`
        // forge-lint: disable-next-line(unsafe-typecast)
        _supply.earning = fromExcluded ? _supply.earning + uint128(value) : _supply.earning - uint128(value);
    }

    function _transferVotingUnits(address from, address to, uint256 amount) internal override {
        if (_rules.votes) super._transferVotingUnits(from, to, amount);
    }

    function _delegate(address account, address delegatee) internal override {
        if (!_rules.votes) revert Shares_WithoutVotes();
        if (!_rules.allowsVote(delegatee)) revert ERC7943CannotReceive(delegatee);
        super._delegate(account, delegatee);
    }
}
