/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/multifd.h"
#include "migration/multifd/codec.h"

const MultifdCodec *multifd_codec(MultiFDCompression method)
{
    switch (method) {
    case MULTI_FD_COMPRESSION_ZLIB:
        return &multifd_codec_zlib;
    case MULTI_FD_COMPRESSION_ZSTD:
        return &multifd_codec_zstd;
    case MULTI_FD_COMPRESSION_X_ADAPTIVE:
        return &multifd_codec_adaptive;
    default:
        return NULL;
    }
}
