// Python's view of the mapping game.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "mapping_any_order_game.hpp"
#include "mapping_game.hpp"
#include "mapping_game_features.hpp"
#include "mapping_game_network.hpp"
#include "mapping_paper_game.hpp"
#include "mapping_random.hpp"
#include "mapping_results.hpp"

namespace planner {

namespace {

using mapping::AnyOrderGame;
using mapping::GameProgram;
using mapping::MappingModel;
using mapping::PaperGame;
using mapping::ProgramOrderGame;
using mapping::Ticks;

// A game in progress, whatever its rule.
class Game {
 public:
  virtual ~Game() = default;
  virtual std::unique_ptr<Game> copy() const = 0;
  virtual std::uint32_t legal() const = 0;
  virtual Ticks play(std::int32_t action) = 0;
  virtual Ticks latency() const = 0;
  virtual std::int32_t actions() const = 0;
  virtual int observed() const = 0;
  virtual void observe(float* values) const = 0;
  virtual std::vector<std::int64_t> residencies() const = 0;
  virtual std::int64_t backups() const { return 0; }
};

std::vector<std::int64_t> flat(std::vector<mapping::GameStay> stays) {
  std::sort(stays.begin(), stays.end(), [](const auto& a, const auto& b) {
    return a.buffer != b.buffer ? a.buffer < b.buffer : a.first < b.first;
  });
  std::vector<std::int64_t> result;
  for (const auto& stay : stays) {
    result.insert(result.end(), {stay.buffer, stay.first, stay.last, stay.start, stay.end,
                                 stay.offset});
  }
  return result;
}

// Of either rule in program order. The program is shared by the copies.
template <class Rule>
class OrderedGame : public Game {
 public:
  OrderedGame(const MappingModel& model, std::int32_t window)
      : program_(std::make_shared<const GameProgram>(model)), game_(*program_, window) {}

  std::unique_ptr<Game> copy() const override { return std::make_unique<OrderedGame>(*this); }
  std::uint32_t legal() const override { return game_.legal(); }
  Ticks play(std::int32_t action) override { return game_.play(action); }
  Ticks latency() const override { return game_.latency(); }
  std::int32_t actions() const override { return std::is_same_v<Rule, PaperGame> ? 3 : 2; }
  int observed() const override { return mapping::kGameFeatures; }
  void observe(float* values) const override {
    if (game_.done()) {
      std::fill(values, values + observed(), 0.0F);
    } else {
      mapping::observe(game_, game_.decision(), values);
    }
  }
  std::vector<std::int64_t> residencies() const override { return flat(game_.stays()); }
  std::int64_t backups() const override {
    if constexpr (std::is_same_v<Rule, PaperGame>) return game_.backups();
    return 0;
  }

 private:
  std::shared_ptr<const GameProgram> program_;
  Rule game_;
};

class PlacingGame : public Game {
 public:
  PlacingGame(const MappingModel& model, std::int32_t window)
      : game_(model, {window, false, true}) {}

  std::unique_ptr<Game> copy() const override { return std::make_unique<PlacingGame>(*this); }
  std::uint32_t legal() const override { return game_.legal(); }
  Ticks play(std::int32_t action) override { return game_.play(action); }
  Ticks latency() const override { return game_.state().latency(); }
  std::int32_t actions() const override { return AnyOrderGame::kStop + 1; }
  int observed() const override { return AnyOrderGame::kObserved; }
  void observe(float* values) const override { game_.observe(values); }
  std::vector<std::int64_t> residencies() const override {
    return mapping::result_of(game_.state()).residencies;
  }

 private:
  AnyOrderGame game_;
};

std::unique_ptr<Game> new_game(const MappingModel& model, const std::string& mode,
                               std::int32_t window) {
  if (window < 1) throw nb::value_error("a window has at least one row");
  if (mode == "program-order") {
    return std::make_unique<OrderedGame<ProgramOrderGame>>(model, window);
  }
  if (mode == "paper") return std::make_unique<OrderedGame<PaperGame>>(model, window);
  if (mode == "any-order") return std::make_unique<PlacingGame>(model, window);
  throw nb::value_error("the mode has to be program-order, paper or any-order");
}

// Keeps alive what the game points into.
struct GameHandle {
  nb::object model;
  std::unique_ptr<Game> game;

  GameHandle(nb::object described, const std::string& mode, std::int32_t window)
      : model(std::move(described)),
        game(new_game(nb::cast<const MappingModel&>(model), mode, window)) {}
  GameHandle(const GameHandle& other) : model(other.model), game(other.game->copy()) {}

  Ticks play(std::int32_t action) {
    const std::uint32_t legal = game->legal();
    if (action < 0 || action >= game->actions() || (legal >> action & 1U) == 0) {
      throw nb::value_error(legal == 0 ? "the game is over" : "that action is not legal here");
    }
    return game->play(action);
  }

  OutputArray<bool> mask() const {
    // std::vector<bool> has no array of its own.
    const auto actions = static_cast<std::size_t>(game->actions());
    auto values = std::make_unique<bool[]>(actions);
    for (std::size_t a = 0; a < actions; ++a) values[a] = (game->legal() >> a & 1U) != 0;
    bool* data = values.get();
    nb::capsule owner(data, [](void* p) noexcept {
      std::unique_ptr<bool[]>(static_cast<bool*>(p));
    });
    values.release();
    return OutputArray<bool>(data, {actions}, owner);
  }

  OutputArray<float> observation() const {
    std::vector<float> values(static_cast<std::size_t>(game->observed()));
    game->observe(values.data());
    return to_numpy(std::move(values));
  }

  // Plays to the end, each legal action as likely as the others.
  std::int64_t play_random(std::uint64_t seed, bool observe, double time_limit_s,
                           const CancelFlag* cancel) {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    mapping::Random random(seed);
    std::vector<float> values(static_cast<std::size_t>(game->observed()));
    std::int64_t moves = 0;
    for (std::uint32_t legal = game->legal(); legal != 0; legal = game->legal(), ++moves) {
      if (control.stop()) break;
      if (observe) game->observe(values.data());
      std::int32_t count = 0;
      for (std::uint32_t left = legal; left != 0; left &= left - 1) ++count;
      std::int32_t skip = random.below(count);
      std::int32_t action = 0;
      while ((legal >> action & 1U) == 0 || skip-- > 0) ++action;
      game->play(action);
    }
    return moves;
  }
};

mapping::GameNetwork network_of(const std::vector<std::int32_t>& hidden,
                                const InputArray<float>& parameters) {
  for (const std::int32_t size : hidden) {
    if (size < 1 || size > 4096) throw nb::value_error("layers have 1 to 4096 units");
  }
  if (parameters.size() != mapping::GameNetwork::parameters(hidden)) {
    throw nb::value_error("the parameters are not those of these layers");
  }
  return {hidden, {parameters.data(), parameters.data() + parameters.size()}};
}

nb::tuple play_program_order(const MappingModel& model, const std::vector<std::int32_t>& hidden,
                             const InputArray<float>& parameters, std::int32_t window,
                             std::int32_t simulations, std::int32_t horizon, double noise,
                             double discount, double sharpness, std::uint64_t seed, bool record,
                             double time_limit_s, const CancelFlag* cancel) {
  if (window < 1 || simulations < 0 || horizon < 0 || !(noise >= 0.0) ||
      !(discount >= 0.0 && discount <= 1.0) || !(sharpness >= 0.0)) {
    throw nb::value_error(
        "window, simulations, horizon, noise, discount or sharpness is out of range");
  }
  mapping::GameNetwork network = network_of(hidden, parameters);
  mapping::PlayedGame played;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    mapping::Random random(seed);
    const GameProgram program(model);
    played = mapping::play_program_order(program, window, network,
                                         {simulations, horizon, noise, discount, sharpness}, random, record,
                                         control);
  }
  return nb::make_tuple(to_numpy(flat(std::move(played.stays))), played.latency, played.moves,
                        to_numpy(std::move(played.seen)), to_numpy(std::move(played.policy)),
                        to_numpy(std::move(played.rewards)), to_numpy(std::move(played.rows)));
}

}  // namespace

void bind_mapping_game(nb::module_& m) {
  m.attr("MAPPING_GAME_FEATURES") = mapping::kGameFeatures;
  m.attr("MAPPING_GAME_OFFERED") = AnyOrderGame::kOffered;
  m.attr("MAPPING_GAME_SHOWN") = AnyOrderGame::kShown;
  nb::class_<GameHandle>(m, "MappingGame", "A mapping game in progress; for one thread.")
      .def(nb::init<nb::object, const std::string&, std::int32_t>(), nb::arg("model"),
           nb::arg("mode"), nb::arg("window"),
           "Begin a game: program-order, paper or any-order. Copies take at most `window` rows.")
      .def("copy", [](const GameHandle& self) { return GameHandle(self); },
           "The same position, to be played on by itself.")
      .def("play", &GameHandle::play, nb::arg("action"),
           "Play a legal action and all forced ones after it. Returns the ticks gained.")
      .def("play_random", &GameHandle::play_random, nb::arg("seed"), nb::kw_only(),
           nb::arg("observe"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
           "Play legal actions at random to the end. Returns their number.")
      .def("mask", &GameHandle::mask, "Which actions are legal; none when the game is over.")
      .def("observation", &GameHandle::observation, "What a player sees, float32.")
      .def("residencies", [](const GameHandle& self) {
             return to_numpy(self.game->residencies());
           }, "Six numbers each, by buffer and first access.")
      .def_prop_ro("done", [](const GameHandle& self) { return self.game->legal() == 0; })
      .def_prop_ro("actions", [](const GameHandle& self) { return self.game->actions(); })
      .def_prop_ro("latency", [](const GameHandle& self) { return self.game->latency(); })
      .def_prop_ro("backups", [](const GameHandle& self) { return self.game->backups(); });
  m.def("mapping_play_program_order", &play_program_order, nb::arg("model"), nb::kw_only(),
        nb::arg("hidden"), nb::arg("parameters"), nb::arg("window"), nb::arg("simulations"),
        nb::arg("horizon"), nb::arg("noise"), nb::arg("discount"),
        nb::arg("sharpness"), nb::arg("seed"),
        nb::arg("record"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Play one game in program order with a network and tree search. Returns residencies (six "
        "numbers each), latency in ticks, moves, and of each decision, if recorded: features, "
        "improved policy, ticks gained in mean rows, row.");
}

}  // namespace planner
