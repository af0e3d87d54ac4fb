#include "mapping_game_network.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace planner::mapping {

namespace {

constexpr float kVisitOffset = 50.0F;

std::array<float, kGameActions> softmax(const std::array<float, kGameActions>& logits) {
  const float most = *std::max_element(logits.begin(), logits.end());
  std::array<float, kGameActions> result{};
  float sum = 0.0F;
  for (int a = 0; a < kGameActions; ++a) sum += result[a] = std::exp(logits[a] - most);
  for (float& share : result) share /= sum;
  return result;
}

// The later of equal ones: serving and keeping rather than not.
std::int32_t largest(const std::array<float, kGameActions>& values) {
  std::int32_t best = 0;
  for (std::int32_t a = 1; a < kGameActions; ++a) {
    if (values[a] >= values[best]) best = a;
  }
  return best;
}

std::int32_t row_of(const ProgramOrderGame& game) {
  return game.done() ? static_cast<std::int32_t>(game.model().rows.size())
                     : game.model().accesses[game.decision().access].row;
}

}  // namespace

GameNetwork::GameNetwork(std::vector<std::int32_t> hidden, std::vector<float> parameters)
    : sizes_(std::move(hidden)), parameters_(std::move(parameters)) {
  sizes_.insert(sizes_.begin(), kGameFeatures);
  sizes_.push_back(kGameActions + 1);
  const auto widest = static_cast<std::size_t>(*std::max_element(sizes_.begin(), sizes_.end()));
  from_.resize(widest);
  to_.resize(widest);
}

std::size_t GameNetwork::parameters(const std::vector<std::int32_t>& hidden) {
  std::size_t count = 0;
  std::size_t inputs = kGameFeatures;
  for (const std::int32_t size : hidden) {
    count += (inputs + 1) * static_cast<std::size_t>(size);
    inputs = static_cast<std::size_t>(size);
  }
  return count + (inputs + 1) * (kGameActions + 1);
}

GameNetwork::Output GameNetwork::operator()(const float* features) {
  std::copy(features, features + kGameFeatures, from_.begin());
  const float* weights = parameters_.data();
  for (std::size_t layer = 1; layer < sizes_.size(); ++layer) {
    const std::int32_t inputs = sizes_[layer - 1];
    const std::int32_t outputs = sizes_[layer];
    const float* biases = weights + static_cast<std::ptrdiff_t>(inputs) * outputs;
    std::copy(biases, biases + outputs, to_.begin());
    for (std::int32_t i = 0; i < inputs; ++i, weights += outputs) {
      const float value = from_[i];
      if (value == 0.0F) continue;
      for (std::int32_t j = 0; j < outputs; ++j) to_[j] += value * weights[j];
    }
    weights += outputs;
    if (layer + 1 < sizes_.size()) {
      for (std::int32_t j = 0; j < outputs; ++j) to_[j] = std::max(0.0F, to_[j]);
    }
    std::swap(from_, to_);
  }
  Output output;
  std::copy(from_.begin(), from_.begin() + kGameActions, output.logits.begin());
  output.value = from_[kGameActions];
  return output;
}

GumbelSearch::GumbelSearch(GameNetwork& network, const GumbelOptions& options)
    : network_(network), options_(options) {}

GameNetwork::Output GumbelSearch::look(const ProgramOrderGame& game) {
  observe(game, game.decision(), seen_.data());
  return network_(seen_.data());
}

std::int32_t GumbelSearch::add_node(const ProgramOrderGame& game) {
  if (used_ == static_cast<std::int32_t>(nodes_.size())) {
    nodes_.push_back(std::make_unique<Node>(game));
  } else {
    nodes_[used_]->game = game;
    nodes_[used_]->edges = {};
  }
  return used_++;
}

float GumbelSearch::evaluate(Node& node) {
  if (node.game.done()) {
    node.output = {};
    return 0.0F;
  }
  node.output = look(node.game);
  if (row_of(node.game) >= until_) return node.output.value;
  if (scratch_ == nullptr) scratch_ = std::make_unique<ProgramOrderGame>(node.game);
  ProgramOrderGame& game = *scratch_;
  game = node.game;
  const std::int32_t start = row_of(game);
  std::int32_t row = start;
  GameNetwork::Output output = node.output;
  double gained = 0.0;
  while (true) {
    const double weight = std::pow(options_.discount, row - start);
    gained += weight * static_cast<double>(game.play(largest(output.logits))) /
              game.program().mean_time;
    ++moves_;
    if (game.done()) return static_cast<float>(gained);
    row = row_of(game);
    output = look(game);
    if (row >= until_) {
      return static_cast<float>(gained +
                                std::pow(options_.discount, row - start) * output.value);
    }
  }
}

float GumbelSearch::simulate(std::int32_t index, std::int32_t action) {
  Edge& edge = nodes_[index]->edges[action];
  float value = 0.0F;
  if (edge.child < 0) {
    const std::int32_t child = add_node(nodes_[index]->game);
    ProgramOrderGame& game = nodes_[child]->game;
    const std::int32_t row = row_of(game);
    edge.reward = static_cast<float>(static_cast<double>(game.play(action)) /
                                     game.program().mean_time);
    ++moves_;
    edge.discount = static_cast<float>(std::pow(options_.discount, row_of(game) - row));
    edge.child = child;
    value = evaluate(*nodes_[child]);
  } else if (!nodes_[edge.child]->game.done()) {
    value = simulate(edge.child, select(*nodes_[edge.child]));
  }
  const float result = edge.reward + edge.discount * value;
  ++edge.visits;
  edge.total += result;
  return result;
}

float GumbelSearch::advantage(const Node& node, float value) const {
  std::int32_t most = 0;
  for (const Edge& edge : node.edges) most = std::max(most, edge.visits);
  return (kVisitOffset + static_cast<float>(most)) * static_cast<float>(options_.sharpness) *
         value;
}

// Softmax of the logits and what is known of the values; of actions not tried, what the tried
// ones and the network make likely.
std::array<float, kGameActions> GumbelSearch::improved(const Node& node) const {
  const auto prior = softmax(node.output.logits);
  float visits = 0.0F;
  float tried = 0.0F;
  float weighted = 0.0F;
  for (int a = 0; a < kGameActions; ++a) {
    const Edge& edge = node.edges[a];
    if (edge.visits == 0) continue;
    visits += static_cast<float>(edge.visits);
    tried += prior[a];
    weighted += prior[a] * edge.total / static_cast<float>(edge.visits);
  }
  const float mixed = tried > 0.0F
                          ? (node.output.value + visits * weighted / tried) / (1.0F + visits)
                          : node.output.value;
  std::array<float, kGameActions> logits{};
  for (int a = 0; a < kGameActions; ++a) {
    const Edge& edge = node.edges[a];
    const float value =
        edge.visits == 0 ? mixed : edge.total / static_cast<float>(edge.visits);
    logits[a] = node.output.logits[a] + advantage(node, value);
  }
  return softmax(logits);
}

std::int32_t GumbelSearch::select(const Node& node) const {
  auto preference = improved(node);
  std::int32_t visits = 0;
  for (const Edge& edge : node.edges) visits += edge.visits;
  for (int a = 0; a < kGameActions; ++a) {
    preference[a] -= static_cast<float>(node.edges[a].visits) / static_cast<float>(1 + visits);
  }
  return largest(preference);
}

GumbelSearch::Choice GumbelSearch::choose(const ProgramOrderGame& game, Random& random) {
  used_ = 0;
  const std::int32_t root = add_node(game);
  nodes_[root]->output = look(game);
  const auto seen = seen_;
  const auto logits = nodes_[root]->output.logits;
  ++moves_;
  if (options_.simulations <= 0) return {largest(logits), softmax(logits)};
  std::array<float, kGameActions> noise{};
  for (float& value : noise) {
    if (options_.noise == 0.0) break;
    const double drawn = -std::log(-std::log(std::max(random.uniform(), 1e-300)));
    value = static_cast<float>(options_.noise * drawn);
  }
  until_ = row_of(game) + options_.horizon;
  for (std::int32_t k = 0; k < options_.simulations; ++k) simulate(root, k % kGameActions);
  std::array<float, kGameActions> score{};
  const Node& node = *nodes_[root];
  for (int a = 0; a < kGameActions; ++a) {
    const Edge& edge = node.edges[a];
    const float value = edge.total / static_cast<float>(std::max(1, edge.visits));
    score[a] = logits[a] + noise[a] + advantage(node, value);
  }
  seen_ = seen;
  return {largest(score), improved(node)};
}

PlayedGame play_program_order(const GameProgram& program, std::int32_t window,
                              GameNetwork& network, const GumbelOptions& options, Random& random,
                              bool record, Control& control) {
  PlayedGame played;
  ProgramOrderGame game(program, window);
  GumbelSearch search(network, options);
  GumbelSearch greedy(network, {});
  while (!game.done()) {
    GumbelSearch& player = control.stop_now() ? greedy : search;
    const GumbelSearch::Choice choice = player.choose(game, random);
    if (record) {
      played.seen.insert(played.seen.end(), player.seen().begin(), player.seen().end());
      played.policy.insert(played.policy.end(), choice.policy.begin(), choice.policy.end());
      played.rows.push_back(row_of(game));
    }
    const Ticks gained = game.play(choice.action);
    if (record) {
      played.rewards.push_back(
          static_cast<float>(static_cast<double>(gained) / program.mean_time));
    }
  }
  played.stays = game.stays();
  played.latency = game.latency();
  played.moves = search.moves() + greedy.moves();
  return played;
}

}  // namespace planner::mapping
