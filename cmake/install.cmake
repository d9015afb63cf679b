# Installs what a C++ consumer needs: headers, the static library, the CMake package and the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/pyrsistence)

install(TARGETS pyrsistence EXPORT pyrsistenceTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pyrsistence
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN *.hpp)
install(EXPORT pyrsistenceTargets NAMESPACE pyrsistence::
        DESTINATION ${PACKAGE_DIR} COMPONENT development)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pyrsistenceConfig.cmake.in pyrsistenceConfig.cmake
                              INSTALL_DESTINATION ${PACKAGE_DIR})
write_basic_package_version_file(pyrsistenceConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pyrsistenceConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/pyrsistenceConfigVersion.cmake
        DESTINATION ${PACKAGE_DIR} COMPONENT development)

# Relative to the .pc file itself, so that an installed tree can be moved.
file(RELATIVE_PATH PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PC_PREFIX "${PC_PREFIX}")
configure_file(${PROJECT_SOURCE_DIR}/cmake/pyrsistence.pc.in pyrsistence.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pyrsistence.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
        DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/pyrsistence COMPONENT development)
