// Power failures of stores with several containers: transactions whole or not at all, names and named snapshots
// that come and go with them. How to run one chain alone: power_failure_test.cpp.
#include "crash/chains.hpp"
#include "crash/store_workload.hpp"

namespace pyrsistence::test {
namespace {

TEST_F(PowerFailureTest, StoreOfSmallChanges) { chains<StoreModel>(kSmallChanges); }
TEST_F(PowerFailureTest, StoreOfMixedSizes) { chains<StoreModel>(kMixedStore); }
TEST_F(PowerFailureTest, StoreOfLongTransactions) { chains<StoreModel>(kLongOnes); }
TEST_F(PowerFailureTest, StoreOfExtents) { chains<StoreModel>(kBigValues); }
TEST_F(PowerFailureTest, StoreOfManyNames) { chains<StoreModel>(kManyNames); }
TEST_F(PowerFailureTest, StoreOfManyPages) { chains<StoreModel>(kMuchStore); }

}  // namespace
}  // namespace pyrsistence::test
