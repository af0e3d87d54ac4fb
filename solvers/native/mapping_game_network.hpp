// A small network with a policy and a value, and tree search with it on the exact game.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "control.hpp"
#include "mapping_game.hpp"
#include "mapping_game_features.hpp"
#include "mapping_random.hpp"

namespace planner::mapping {

constexpr int kGameActions = 2;

// Layers of rectified linear units between the features and kGameActions logits and one value.
class GameNetwork {
 public:
  struct Output {
    std::array<float, kGameActions> logits{};
    float value = 0.0F;  // discounted ticks still to gain, in mean rows
  };

  // `parameters`: of each layer in turn the weights, [inputs][outputs], and the biases; the last
  // layer has kGameActions + 1 outputs.
  GameNetwork(std::vector<std::int32_t> hidden, std::vector<float> parameters);

  static std::size_t parameters(const std::vector<std::int32_t>& hidden);

  Output operator()(const float* features);

 private:
  std::vector<std::int32_t> sizes_;
  std::vector<float> parameters_;
  std::vector<float> from_;
  std::vector<float> to_;
};

struct GumbelOptions {
  std::int32_t simulations = 0;  // of each move; 0 plays the policy's likelier action
  std::int32_t horizon = 0;      // rows that the policy plays on from a leaf before its value counts
  double noise = 0.0;            // scale of the Gumbel variables: 0 to play well, 1 to learn
  double discount = 0.97;        // of what is gained a row later
  double sharpness = 0.5;        // how much a mean row counts beside the logits
};

// Gumbel AlphaZero (Danihelka, Guez, Schrittwieser, Silver: "Policy improvement by planning with
// Gumbel", ICLR 2022). With two actions sequential halving is a single phase in which both get the
// same number of simulations. Unlike there, values are not scaled to the range met in the tree but
// counted in mean rows: else a choice that does not matter would look as clear as one that does.
class GumbelSearch {
 public:
  GumbelSearch(GameNetwork& network, const GumbelOptions& options);

  struct Choice {
    std::int32_t action;
    std::array<float, kGameActions> policy;  // improved
  };

  Choice choose(const ProgramOrderGame& game, Random& random);

  // Moves played in the game and on its copies.
  std::int64_t moves() const { return moves_; }
  const std::array<float, kGameFeatures>& seen() const { return seen_; }

 private:
  struct Edge {
    std::int32_t child = -1;
    std::int32_t visits = 0;
    float reward = 0.0F;
    float discount = 1.0F;
    float total = 0.0F;  // of the returns, reward included
  };
  struct Node {
    explicit Node(const ProgramOrderGame& position) : game(position) {}
    ProgramOrderGame game;
    GameNetwork::Output output;
    std::array<Edge, kGameActions> edges{};
  };

  std::int32_t add_node(const ProgramOrderGame& game);
  GameNetwork::Output look(const ProgramOrderGame& game);
  float simulate(std::int32_t node, std::int32_t action);
  float evaluate(Node& node);
  std::int32_t select(const Node& node) const;
  std::array<float, kGameActions> improved(const Node& node) const;
  float advantage(const Node& node, float value) const;

  GameNetwork& network_;
  GumbelOptions options_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::unique_ptr<ProgramOrderGame> scratch_;  // plays on from leaves
  std::int32_t used_ = 0;
  std::int32_t until_ = 0;  // row up to which leaves are played on
  std::array<float, kGameFeatures> seen_{};
  std::int64_t moves_ = 0;
};

// One game and, with `record`, what there is to learn from it.
struct PlayedGame {
  std::vector<GameStay> stays;
  Ticks latency = 0;
  std::int64_t moves = 0;
  std::vector<float> seen;      // kGameFeatures of each decision
  std::vector<float> policy;    // kGameActions of each decision
  std::vector<float> rewards;   // in mean rows
  std::vector<std::int32_t> rows;
};

// Plays to the end; without search from the moment that `control` asks for a stop.
PlayedGame play_program_order(const GameProgram& program, std::int32_t window,
                              GameNetwork& network, const GumbelOptions& options, Random& random,
                              bool record, Control& control);

}  // namespace planner::mapping
