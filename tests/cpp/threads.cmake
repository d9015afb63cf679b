# What is worth running under ThreadSanitizer: every *threads_test.cpp, and these files, whose tests have threads
# or let the checkpoint thread and the publishing thread work beside them.
set(THREAD_TESTS
    containers/handle_test.cpp
    containers/relocate_test.cpp
    os/mapping_guard_test.cpp
    os/watch_test.cpp
    storage/backup_test.cpp
    storage/checkpoint_test.cpp
    storage/reader_table_race_test.cpp)
list(TRANSFORM THREAD_TESTS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
list(FILTER TEST_SOURCES INCLUDE REGEX "threads_test\\.cpp$")
list(APPEND TEST_SOURCES ${THREAD_TESTS})

# Left out: tests that fork (the sanitizer knows nothing of a child forked beside threads), that are traced, or that
# count the mappings of the process, to which the sanitizer adds its own.
set(UNSUITABLE_TESTS
    MappingGuardTest.AF* MappingGuardTest.ARange* MappingGuardTest.Damaged* MappingGuardTest.*Fork*
    MappingGuardTest.ManyFaults* MappingGuardTest.ThreadsNever*
    ReaderTableRaceTest.A* ReaderTableRaceTest.*Processes* ReaderTableRaceTest.The* ReaderTableRaceTest.WritersMayDie*
    WatchTest.*Fork* WatchTest.WithoutDescriptors*)
list(JOIN UNSUITABLE_TESTS ":" UNSUITABLE_TESTS)
set(TEST_FILTER "*-${UNSUITABLE_TESTS}")
