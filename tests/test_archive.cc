// ranks: 1 3
#include "messages.h"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <deal.II/base/mpi.h>
#include <filesystem>
#include <fstream>
#include <varfield/archive.h>

/// States of computations in files: what is read is what was written, on any partition, or it is refused.
BOOST_AUTO_TEST_SUITE(archive)

using namespace varfield;

namespace
{
  const std::string path = "some.state";

  /// The keys 0, 10, …, 190, dealt out to the ranks like cards, or in blocks.
  Layout layout_of(bool dealt)
  {
    const auto n    = dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD);
    const auto rank = dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD);
    std::vector<std::uint64_t> keys;
    for (unsigned int i = 0; i < 20; ++i)
      if ((dealt ? i % n : i * n / 20) == rank)
        keys.push_back(10 * i);
    return Layout(MPI_COMM_WORLD, keys);
  }

  struct State
  {
    double third       = 0.;
    unsigned int count = 0;
    bool truth         = false;
    std::string words;
    Matrix matrix;
    MultiVector block;

    void keep(Archive &archive, const Layout &layout)
    {
      archive.number("third", third);
      archive.in("inner ",
                 [&]
                 {
                   archive.number("count", count);
                   archive.number("truth", truth);
                 });
      archive.text("words", words);
      archive.numbers("matrix", matrix);
      archive.columns("block", layout, block);
    }
  };

  /// Two columns whose entries follow from their keys.
  MultiVector block_on(const Layout &layout)
  {
    MultiVector result(layout.n_local(), 2);
    for (Index i = 0; i < result.rows(); ++i)
      result.row(i) << 1. / (1. + double(layout.keys()[static_cast<std::size_t>(i)])),
          -double(layout.keys()[static_cast<std::size_t>(i)]);
    return result;
  }

  void write(const SampleGroups &groups)
  {
    const Layout layout = layout_of(true);
    State state{1. / 3., 7, true, "zwölf\nBoxkämpfer", Matrix::Random(3, 2), block_on(layout)};
    state.matrix << 1., 2., 3., 4., INFINITY, NAN;
    Archive archive = Archive::to(path, groups);
    state.keep(archive, layout);
    archive.commit();
  }

  std::string refusal(const SampleGroups &groups, const Layout &layout)
  {
    return testing::message_of(
        [&]
        {
          State state;
          Archive archive = Archive::from(path, groups);
          state.keep(archive, layout);
        });
  }

  template <typename Action>
  void on_first_rank(const Action &action)
  {
    MPI_Barrier(MPI_COMM_WORLD);
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      action();
    MPI_Barrier(MPI_COMM_WORLD);
  }
} // namespace

BOOST_AUTO_TEST_CASE(what_was_written_is_read_on_another_partition)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  write(groups);
  const Layout layout = layout_of(false);
  State state;
  Archive archive = Archive::from(path, groups);
  state.keep(archive, layout);
  BOOST_TEST(state.third == 1. / 3.);
  BOOST_TEST(state.count == 7u);
  BOOST_TEST(state.truth);
  BOOST_TEST(state.words == "zwölf\nBoxkämpfer");
  BOOST_TEST(state.matrix(1, 1) == 4.);
  BOOST_TEST((std::isinf(state.matrix(2, 0)) && std::isnan(state.matrix(2, 1))));
  BOOST_TEST((state.block - block_on(layout)).norm() == 0.);
}

BOOST_AUTO_TEST_CASE(nothing_appears_before_it_is_whole)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  on_first_rank([] { std::remove(path.c_str()); });
  {
    Archive archive = Archive::to(path, groups);
    double number   = 1.;
    archive.number("number", number);
  }
  on_first_rank(
      []
      {
        BOOST_TEST(!std::filesystem::exists(path));
        BOOST_TEST(!std::filesystem::exists(path + ".tmp"));
      });
  CHECK_CONTAINS(testing::message_of([&] { Archive::from(path, groups); }), "No such file");
  Archive nowhere = Archive::to("no/such/folder/some.state", groups);
  CHECK_CONTAINS(testing::message_of<ComputationError>([&] { nowhere.commit(); }), "cannot be written: No such file");
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  write(groups);
  const Layout layout = layout_of(false);
  BOOST_TEST(refusal(groups, layout) == "(no exception)");
  CHECK_CONTAINS(refusal(groups, concatenate(MPI_COMM_WORLD, {layout, layout})), "of another mesh");
  CHECK_CONTAINS(testing::message_of(
                     [&]
                     {
                       double fourth   = 0.;
                       Archive archive = Archive::from(path, groups);
                       archive.number("fourth", fourth);
                     }),
                 "“fourth” is not in it");
}

/// Every byte counts: one that is changed anywhere, and a file that is cut off anywhere.
BOOST_AUTO_TEST_CASE(damage_is_found)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  write(groups);
  const Layout layout = layout_of(false);
  const auto size     = static_cast<long>(std::filesystem::file_size(path));
  MPI_Barrier(MPI_COMM_WORLD);
  const auto change = [](long place)
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(place);
    const char c = static_cast<char>(file.get() ^ 0x10);
    file.seekp(place);
    file.put(c);
  };
  for (long place = 0; place < size; place += 7)
  {
    on_first_rank([&] { change(place); });
    CHECK_CONTAINS(refusal(groups, layout), "damaged");
    on_first_rank([&] { change(place); });
  }
  BOOST_TEST(refusal(groups, layout) == "(no exception)");
  for (const long length : {size - 1, size / 2, 20L, 3L, 0L})
  {
    on_first_rank([&] { std::filesystem::resize_file(path, static_cast<std::uintmax_t>(length)); });
    CHECK_CONTAINS(refusal(groups, layout), "cannot be read");
  }
  on_first_rank([] { std::remove(path.c_str()); });
}

BOOST_AUTO_TEST_SUITE_END()
